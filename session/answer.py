"""What a caller holds while an answer is generated: its pieces of text, its statistics, and a way to stop it.

Not here: generating (`chat_session`), who computes when (`session.scheduler`).
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


class Interrupted(Exception):
    """A computation was stopped, or not begun, because its result is not wanted any more."""


@dataclass
class Stats:
    """What one answer took.

    prompt_tokens: of the whole conversation; cached_tokens of them were in a KV cache already. visual_tokens: of the
    prompt's pictures and videos; encoded_tokens of them went through the vision encoder for this answer.
    answer_tokens: generated, the end token included.
    steps: {tokens in one forward pass: how often}, after the first token; more than one where there were draft tokens
    (see `session.decode`).
    first_token_s, total_s: seconds since the first piece was asked for.
    finish_reason: "stop" (an end token or a stop string came), "length" (max_new_tokens, or the model's context is
    full), "repetition" (it repeated itself endlessly); "" while it grows, and where it was stopped.
    finished: it ended by itself ("stop").
    notes: sentences for the reader about the prompt's pictures and videos.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    visual_tokens: int = 0
    encoded_tokens: int = 0
    answer_tokens: int = 0
    steps: dict[int, int] = field(default_factory=dict)
    first_token_s: float = 0.0
    total_s: float = 0.0
    finish_reason: str = ""
    finished: bool = False
    notes: tuple[str, ...] = ()

    def finish(self, reason: str) -> None:
        self.finish_reason, self.finished = reason, reason == "stop"


@dataclass(frozen=True)
class Request:
    """What `ChatSession.stream` was asked: its arguments. owner: whose cached prefixes and features serve it."""

    messages: list[dict]
    owner: str
    max_visual_tokens: int | None
    json_schema: dict | bool | None
    continue_final_message: bool
    options: dict


@dataclass
class AnswerState:
    """What an Answer shares with the generator behind it. The generator refers to this and not to the Answer: so an
    Answer without references is collected, and its generator closed.
    """

    group: str = ""  # of visitors who share their time with this one
    stats: Stats = field(default_factory=Stats)
    stopped: threading.Event = field(default_factory=threading.Event)
    started: float = 0.0  # time.perf_counter() when the first piece was asked for

    def wanted(self) -> bool:
        return not self.stopped.is_set()


class Answer(Iterator[str]):
    """The pieces of one answer's text. `stats` is complete when it ends.

        answer = session.stream(messages)
        text = "".join(answer)
        print(answer.stats.first_token_s)

    An answer that nobody holds any more is closed.
    """

    def __init__(self, state: AnswerState, texts: Iterator[str]):
        self.stats = state.stats
        self._state = state
        self._texts = texts
        self._running = threading.Lock()
        self._reader = 0  # the thread that has it

    def __next__(self) -> str:
        self._refuse_progress()
        with self._running:
            self._reader = threading.get_ident()
            try:
                return self._next()
            finally:
                self._reader = 0

    def _next(self) -> str:
        if not self._state.started:
            self._state.started = time.perf_counter()
        piece = next(self._texts, None)
        if piece is None:
            self.stats.total_s = self.stats.total_s or time.perf_counter() - self._state.started
            raise StopIteration
        return piece

    def stop(self) -> None:
        """Ends the answer after the forward pass under way (a token, or a chunk of the prompt); encoding a picture is
        cancelled. From any thread; returns at once.
        """
        self._state.stopped.set()

    def close(self) -> None:
        """Stops the answer, and waits until nothing is computed for it any more.

        Not from `progress`, which is a part of what this would wait for: RuntimeError.
        """
        self.stop()
        self._refuse_progress()
        with self._running:
            self._texts.close()

    def _refuse_progress(self) -> None:
        if self._running.locked() and self._reader == threading.get_ident():
            raise RuntimeError("An answer's own `progress` can stop it, but neither close it nor ask for its pieces.")

    def pump(self, put: Callable[[str | Stats | BaseException], None]) -> None:
        """Calls `put` with every piece, then with the Stats; or with the error that ended the answer.

        For a thread of its own that feeds a queue. Never raises: the queue's reader would wait for ever. It catches
        BaseException, because a panic in the Rust of the tokenizers library is no Exception.
        """
        try:
            for piece in self:
                put(piece)
            put(self.stats)
        except BaseException as error:
            put(error)
