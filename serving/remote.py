"""RemoteSession: what the chat page calls on a ChatSession, answered by replicas on the other side of a Ray Serve
handle.

Here: asking, going on elsewhere when a replica is lost, stopping. Not here: which replica it is (consistent hashing, by
the conversation's first question), computing (`serving.replica`).
"""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, RayServeException

from chat_session import Answer, Estimate, Progress
from serving.wire import ERRORS, BusyError, LostError, ReplicaError, conversation_of, pack
from session.answer import Run
from session.patches import Patches
from session.prompt import build_prompt, check_messages, check_parts

ATTEMPTS, PAUSE_S = 5, 1.0  # the routers hear of a lost replica within a second or two
QUICK_S = 1.0  # longest wait for what only informs
BUSY = "All places are taken right now. Please try again in a minute."
LOST = "The machine that wrote this answer was lost, and another one began differently. Please ask again."
GONE = (RayError, RayServeException)


@dataclass
class _Run(Run):
    """A Run that knows what to cancel."""

    response: Any = None

    def stop(self) -> None:
        self.stopped.set()
        if self.response:
            self.response.cancel()


class RemoteAnswer(Answer):
    """An Answer whose stop reaches the replica, also while none has taken it yet."""

    def stop(self) -> None:
        self._run.stop()


class RemoteSession:
    """handle: of a deployment of `serving.replica.Replica`. at_once: how many answers a page should ask for at a time.

    Messages are those of a ChatSession, and an image may be bytes of a file, too.
    """

    def __init__(self, handle, processor, *, at_once: int = 1):
        self.processor, self.at_once = processor, at_once
        self._handle, self._patches, self._memory = handle, Patches(processor, 64 << 20), {}

    def stream(
        self, messages: list[dict], *, progress: Callable[[Progress], None] = lambda _: None, **options
    ) -> Answer:
        """As ChatSession.stream. Raises, too: BusyError; LostError; ReplicaError where the model failed.

        An answer that is drawn at random gets a seed, so that another replica would draw the same.
        """
        if options.get("do_sample") and options.get("seed") is None:
            options["seed"] = secrets.randbelow(2**32)
        run = _Run()
        return RemoteAnswer(run, self._texts(run, messages, progress, options))

    def prepare(self, messages: list[dict], *, wanted=lambda: True, max_visual_tokens: int | None = None) -> None:
        """As ChatSession.prepare, but where nobody has time for it, nothing is done."""
        check_parts(messages)
        packed = pack(messages)
        response = self._at(packed).prepare.remote(packed, max_visual_tokens)
        try:
            with contextlib.suppress(*GONE):
                for events in response:
                    _raise_error(events)
                    if not wanted():
                        return
        finally:
            response.cancel()

    def estimate(self, messages: list[dict], *, max_visual_tokens: int | None = None) -> Estimate:
        """As ChatSession.estimate: tokens are counted here; how long they take is what a replica says."""
        check_parts(messages)
        prompt = build_prompt(self.processor, messages, self._patches, max_visual_tokens)
        seen, tokens = sum(medium.tokens for medium in prompt.media), len(prompt.ids)
        known = [seconds for seconds in self._all("seconds", seen, tokens) if seconds is not None]
        return Estimate(tokens, seen, max(known, default=None))

    @property
    def budgets(self) -> tuple[int, int]:
        return self._patches.budgets

    def memory(self) -> dict[str, int]:
        """Of all replicas together, as they last said."""
        if found := self._all("memory"):
            self._memory = {name: sum(each[name] for each in found) for name in found[0]}
        return self._memory

    def _at(self, packed: list[dict]):
        return self._handle.options(stream=True, session_id=conversation_of(packed))

    def _all(self, method: str, *args) -> list:
        """What every replica says, or nothing where one is too busy to say it quickly."""
        try:
            return self._handle.broadcast(method, *args).results(timeout_s=QUICK_S)
        except (TimeoutError, *GONE):
            return []

    def _texts(self, run: _Run, messages: list[dict], progress, options: dict) -> Iterator[str]:
        check_messages(messages)
        packed, given = pack(messages), ""
        for attempt in range(1, ATTEMPTS + 1):
            text = ""  # of this attempt; what was given before is not given again
            try:
                with contextlib.closing(self._events(run, packed, progress, options)) as pieces:
                    for piece in pieces:
                        text += piece
                        if not (text.startswith(given) or given.startswith(text)):
                            raise LostError(LOST)
                        if len(text) > len(given):
                            new, given = text[len(given) :], text
                            yield new
                if len(text) < len(given) and run.wanted():
                    raise LostError(LOST)
                return
            except BackPressureError as error:
                raise BusyError(BUSY) from error
            except GONE as error:
                if not run.wanted():
                    return
                if attempt == ATTEMPTS or isinstance(error, RayTaskError):
                    raise ReplicaError(f"No replica could answer ({type(error).__name__}).") from error
                run.stopped.wait(PAUSE_S * (attempt - 1))

    def _events(self, run: _Run, packed: list[dict], progress, options: dict) -> Iterator[str]:
        """The pieces of one attempt. Counts go into the stats; times are those that are seen from here."""
        run.response = response = self._at(packed).answer.remote(packed, options)
        try:
            for event in (event for events in _until_stopped(run, response) for event in events):
                if "progress" in event:
                    progress(Progress(**event["progress"]))
                elif "text" in event:
                    run.stats.first_token_s = run.stats.first_token_s or time.perf_counter() - run.began
                    yield event["text"]
                elif "stats" in event:
                    counts = {name: value for name, value in event["stats"].items() if not name.endswith("_s")}
                    vars(run.stats).update(counts)
                _raise_error([event])
        finally:
            response.cancel()


def _until_stopped(run: _Run, response) -> Iterator[list[dict]]:
    """Events of `response`; cancelled, it just ends."""
    try:
        while run.wanted() and (events := next(response, None)) is not None:
            yield events
    except (TaskCancelledError, CancelledError):
        if run.wanted():
            raise


def _raise_error(events: list[dict]) -> None:
    for name, sentence in (event["error"] for event in events if "error" in event):
        raise ERRORS.get(name, ReplicaError)(sentence)
