"""What fifty visitors of the chat page do, alone and all at once, and what they are answered.

Here: one visitor with everything that a browser tab asks of the page, and the crowd. Not here: starting a page, figures
(`crowd.py`), what a person sees (`tests/test_page_browser.py`).

A third close their tab in mid-answer; the others stop an answer and start over, edit a question, ask again, or just
ask on. Each has a picture of its own, so that an answer tells whose it is.
"""

import itertools
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from gradio_client import Client, handle_file

from tiny_model.scenes import sample_scene

VISITORS = 50
LEAVING = "leaves"
KINDS = (LEAVING, "reads", "stops", LEAVING, "edits", "retries")
QUESTIONS = ("Describe this image.", "How many shapes are there?")
LEAVES_AFTER_PIECES = 3
LONG = "Describe this image, and tell me a long story about it."  # the fake model's story is long
TIMEOUT_S = 300
POLL_S = 0.02


@dataclass
class Figures:
    """What a crowd met. answers: by visitor and step."""

    answers: dict[tuple[int, str], str] = field(default_factory=dict)
    first_token_s: list[float] = field(default_factory=list)
    requests: int = 0
    longest_queue: int = 0


class Visitor:
    """One browser tab: gradio_client for what a program may ask, the browser's own requests for the rest."""

    def __init__(self, url: str, number: int, folder: Path, figures: Figures, address: str = ""):
        """address: that the page sees, each another; it believes the header of this machine alone."""
        self.number, self.figures = number, figures
        headers = {"x-forwarded-for": address or f"10.0.{number // 200}.{number % 200 + 1}"}
        # ssl_verify: for each request the client would read all certificates of this machine, to speak plain HTTP.
        self.client = Client(
            url, verbose=False, ssl_verify=False, headers=headers, httpx_kwargs={"timeout": TIMEOUT_S}
        )
        self.http = httpx.Client(base_url=f"{url}gradio_api", verify=False, timeout=TIMEOUT_S, headers=headers)
        self.picture = folder / f"{number}.png"
        sample_scene(random.Random(f"visitor {number}"), (168, 168), count=1 + number % 4).image.save(self.picture)

    def reads(self) -> None:
        self._asks("first", QUESTIONS[0], self.picture)
        self._asks("follow-up", QUESTIONS[1])

    def stops(self) -> None:
        job = self._submit(LONG, self.picture)
        self._first_token(job)
        job.cancel()
        self.client.reset_session()  # what was written is kept, so the same conversation would differ every time
        self._asks("after stop", QUESTIONS[1], self.picture)

    def leaves(self) -> None:
        events = self._events("chat", message=self._message(LONG))
        pieces = (event for event in events if event["msg"] == "process_generating")
        for _ in itertools.islice(pieces, LEAVES_AFTER_PIECES):
            pass
        events.close()

    def edits(self) -> None:
        self._clicks("first", "chat", message=self._message(QUESTIONS[0]))
        self._clicks("edited", "edit", {"index": 0, "value": QUESTIONS[1], "previous_value": QUESTIONS[0]})

    def retries(self) -> None:
        self._clicks("first", "chat", message=self._message(QUESTIONS[0]))
        self._clicks("retried", "retry", {"index": 0, "value": QUESTIONS[0]})

    def _submit(self, words: str, *files: Path):
        self.figures.requests += 1
        message = {"text": words, "files": [handle_file(str(file)) for file in files]}
        return self.client.submit(message=message, api_name="/chat")

    def _asks(self, step: str, words: str, *files: Path) -> None:
        started = time.perf_counter()
        job = self._submit(words, *files)
        self._first_token(job)
        self.figures.first_token_s.append(time.perf_counter() - started)
        self.figures.answers[self.number, step] = job.result(timeout=TIMEOUT_S)

    def _first_token(self, job) -> None:
        while not any(job.outputs()) and not job.done():
            time.sleep(POLL_S)

    def _clicks(self, step: str, action: str, *event_data: dict, message: dict | None = None) -> None:
        """What gradio_client has no way to do. The answer is in the endpoint's Textbox or in what the browser keeps.

        On the page, what is clicked shows the question, and an event that follows answers it.
        """
        events = self._events(action, *event_data, message=message)
        if action != "chat":
            list(events)
            events = self._events(("after", self._event(action)["id"]))
        done = [event for event in events if "output" in event][-1]
        texts = (_text(value) for value in done["output"]["data"])
        self.figures.answers[self.number, step] = next(text for text in texts if text is not None)

    def _events(
        self, action: str | tuple, event_data: dict | None = None, message: dict | None = None
    ) -> Iterator[dict]:
        """All that the page sends from the request to its end; closed earlier, the connection is, as by a tab."""
        self.figures.requests += 1
        number, data = self._request(action, message)
        session = {"session_hash": self.client.session_hash}
        asked = {"data": data, "fn_index": number, "event_data": event_data, **session}
        self.http.post("/queue/join", json=asked).raise_for_status()
        with self.http.stream("GET", "/queue/data", params=session) as stream:
            for line in filter(None, stream.iter_lines()):
                event = json.loads(line.removeprefix("data:"))
                self.figures.longest_queue = max(self.figures.longest_queue, (event.get("rank") or 0) + 1)
                yield event

    def _event(self, action: str | tuple) -> dict:
        """The endpoint `action`, that event of the conversation, or the one that follows ("after", number)."""
        components = self.client.config["components"]
        chatbot = next(component["id"] for component in components if component["type"] == "chatbot")
        return next(
            event for event in self.client.config["dependencies"]
            if action in (event["api_name"], ("after", event["trigger_after"])) or [chatbot, action] in event["targets"]
        )  # fmt: skip

    def _request(self, action: str | tuple, message: dict | None) -> tuple[int, list]:
        """Number and inputs of the event."""
        components = {component["id"]: component for component in self.client.config["components"]}
        event = self._event(action)
        data = []
        for id_ in event["inputs"]:
            component = components[id_]
            is_message = component["type"] == "multimodaltextbox"
            data.append(message if is_message else component["props"].get("value"))
        return event["id"], data

    def _message(self, words: str) -> dict:
        posted = self.http.post("/upload", files={"files": self.picture.open("rb")})
        return {"text": words, "files": [{"path": posted.json()[0], "meta": {"_type": "gradio.FileData"}}]}


def _text(value) -> str | None:
    if isinstance(value, dict) and "messages" in value:
        return value["messages"][-1]["content"]
    return value if isinstance(value, str) else None


def kind_of(number: int) -> str:
    return KINDS[number % len(KINDS)]


def alone(url: str, visitors: int, folder: Path) -> Figures:
    """What each who stays is answered when nobody else is there."""
    figures = Figures()
    for number in range(visitors):
        if kind_of(number) != LEAVING:
            getattr(Visitor(url, number, folder, figures), kind_of(number))()
    return figures


def together(url: str, visitors: int, folder: Path, others: Iterable[Callable[[], None]] = ()) -> Figures:
    """The same and those who leave, all at once, and beside them what `others` do."""
    figures, others = Figures(), list(others)
    crowd = [Visitor(url, number, folder, figures) for number in range(visitors)]
    with ThreadPoolExecutor(visitors + len(others)) as pool:
        visits = [pool.submit(other) for other in others]
        visits += [pool.submit(getattr(visitor, kind_of(visitor.number))) for visitor in crowd]
        for visit in visits:
            visit.result()
    return figures


def wrong(figures: Figures, expected: Figures) -> list[tuple[int, str]]:
    """Who was not answered as when alone, or not at all."""
    return [who for who, said in expected.answers.items() if figures.answers.get(who) != said]
