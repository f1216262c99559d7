"""One visitor's questions do not keep the others out: what nobody listens to is not computed, and visitors take turns.

Visitors are told apart by address. Gradio's server believes what a proxy on this machine says of it.
"""

import json
import threading
import uuid

import httpx
import pytest

from adapters.fair_queue import MAX_OF_TAB, MAX_UNHEARD, FairQueue
from session.prompt import SessionError
from tests.fake_model import echoing, fake_processor
from tests.test_gradio_helper import served

PROCESSOR = fake_processor()
ENDPOINT = "chat"


@pytest.fixture
def page():
    model = echoing(PROCESSOR)
    with served(model) as demo:
        demo.model = model
        yield demo


class Visitor:
    def __init__(self, page, address: str = "10.0.0.1"):
        self.page, self.session = page, uuid.uuid4().hex
        headers = {"x-forwarded-for": address}
        self.http = httpx.Client(base_url=f"{page.local_url}gradio_api", headers=headers, timeout=60)
        [self.number] = [number for number, fn in page.fns.items() if fn.api_name == ENDPOINT]

    def join(self, words: str, session: str | None = None) -> httpx.Response:
        """Asks, and does not listen."""
        values = [fn.value for fn in self.page.fns[self.number].inputs[1:]]
        data = [{"text": words, "files": []}, *values]
        return self.call(self.number, data, session)

    def call(self, number: int, data: list, session: str | None = None) -> httpx.Response:
        asked = {"data": data, "fn_index": number, "session_hash": session or self.session}
        return self.http.post("/queue/join", json=asked)

    def answers(self, count: int = 1) -> list[str]:
        """Of this session, in the order in which they come."""
        found = []
        with self.http.stream("GET", "/queue/data", params={"session_hash": self.session}) as stream:
            for line in filter(None, stream.iter_lines()):
                event = json.loads(line.removeprefix("data:"))
                if event["msg"] == "process_completed":
                    texts = event["output"]["data"] if event["success"] else [event["output"]["error"]]
                    found.append(next(text for text in texts if isinstance(text, str)))
                    if len(found) == count:
                        return found
        raise AssertionError(f"the stream ended after {found}")


def test_what_nobody_listens_to_is_not_computed_and_keeps_nobody_out(page):
    stranger, other = Visitor(page), Visitor(page, "10.0.0.2")
    refused = [stranger.join(f"flood {number}", uuid.uuid4().hex).is_error for number in range(300)]
    assert not all(refused) and len(page._queue) <= MAX_UNHEARD
    other.join("hello").raise_for_status()
    assert other.answers() == ["hello"]
    said = [PROCESSOR.tokenizer.decode(call["input_ids"][0]) for call in page.model.calls]
    assert len(said) == 1 and "hello" in said[0]


def test_a_tab_has_a_bounded_number_of_questions_waiting(page):
    page.model.begin(echoing(PROCESSOR).say, gated=True)
    visitor = Visitor(page)
    answers = [visitor.join(f"question {number}") for number in range(MAX_OF_TAB + 3)]
    refusals = [answer.json()["detail"] for answer in answers if answer.is_error]
    assert refusals and all("questions of this tab are waiting" in refusal for refusal in refusals)
    page.model.allow(10**6)
    assert len(visitor.answers(MAX_OF_TAB)) == MAX_OF_TAB


def test_visitors_take_turns(page):
    page.model.begin(echoing(PROCESSOR).say, gated=True)
    greedy, modest = Visitor(page), Visitor(page, "10.0.0.2")
    for number in range(8):
        greedy.join(f"greedy {number}")
    order: list[str] = []
    listening = threading.Thread(target=lambda: order.extend(greedy.answers(8)))
    listening.start()
    while not page.model.calls:
        threading.Event().wait(0.02)
    modest.join("modest")
    answered = threading.Thread(target=lambda: order.extend(modest.answers()))
    answered.start()
    while not page._queue._streams.hears(modest.session, ""):
        threading.Event().wait(0.02)
    page.model.allow(10**6)
    for thread in (listening, answered):
        thread.join(60)
    said = [PROCESSOR.tokenizer.decode(call["input_ids"][0]) for call in page.model.calls]
    assert ["modest" in words for words in said].index(True) <= 2, said
    assert len(said) == 9


def test_the_queue_of_a_page_is_ours(page):
    assert isinstance(page._queue, FairQueue)
    assert page._queue.max_size == 256


def test_what_waits_takes_a_bounded_amount_of_memory(page, monkeypatch):
    monkeypatch.setattr("adapters.fair_queue.MAX_BYTES_OF_ADDRESS", 30_000)
    page.model.begin(echoing(PROCESSOR).say, gated=True)
    visitor, other = Visitor(page), Visitor(page, "10.0.0.2")
    answers = [visitor.join("x" * 9000) for _ in range(8)]
    assert {answer.status_code for answer in answers} == {200, 503}
    assert not other.join("modest").is_error
    page.model.allow(10**6)


def test_who_listens_to_nothing_writes_nothing_to_the_log(page, caplog, capfd):
    visitor = Visitor(page)
    assert "session_not_found" in visitor.http.get("/queue/data", params={"session_hash": "nobody"}).text
    assert visitor.http.get("/call/chat/nothing").text == 'event: error\ndata: "404: Not Found"\n\n'
    assert not caplog.records and "Traceback" not in "".join(capfd.readouterr())


def test_one_address_leaves_others_a_handler(monkeypatch):
    started, go_on = [], threading.Event()

    def save(history):
        started.append(history)
        go_on.wait(60)
        raise SessionError("saved")

    monkeypatch.setattr("adapters.fair_queue.MAX_RUNNING", 2)
    monkeypatch.setattr("chat_page.button_handlers.save", save)
    with served(echoing(PROCESSOR)) as page:
        number = next(number for number, fn in page.fns.items() if fn.name == "save_to_file")
        greedy, modest, said = Visitor(page), Visitor(page, "10.0.0.2"), []
        for visitor, times in ((greedy, 5), (modest, 1)):
            for _ in range(times):
                visitor.call(number, [None, None]).raise_for_status()
            threading.Thread(target=lambda v=visitor, n=times: said.extend(v.answers(n)), daemon=True).start()
        try:
            wait_until(lambda: len(started) == 3)
            assert len(page._queue) == 3
        finally:
            go_on.set()
        wait_until(lambda: len(said) == 6)
    assert set(said) == {"saved"}


def wait_until(happened) -> None:
    for _ in range(1000):
        if happened():
            return
        threading.Event().wait(0.02)
    pytest.fail("It did not happen in time.")
