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
    finished: it ended by itself, with an end token or a stop string; not because it was stopped or reached
    max_new_tokens.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    visual_tokens: int = 0
    encoded_tokens: int = 0
    answer_tokens: int = 0
    steps: dict[int, int] = field(default_factory=dict)
    first_token_s: float = 0.0
    total_s: float = 0.0
    finished: bool = False


@dataclass
class AnswerState:
    """What an Answer shares with the generator behind it. The generator refers to this and not to the Answer: so an
    Answer without references is collected, and its generator closed.
    """

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

    def __next__(self) -> str:
        with self._running:
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

        Not from `progress`, which is a part of what this would wait for.
        """
        self.stop()
        with self._running:
            self._texts.close()

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
