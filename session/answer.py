"""What a caller holds while an answer is written: its pieces, what it took, and a way to stop it."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Stats:
    """What an answer took: tokens (of `visual_tokens`, `seen_tokens` were encoded anew), seconds, and `steps` after
    the first token: {tokens read at once: how often}, more than one where some were guessed (see `session.writing`).
    finished: it ended by itself, with an end token or a stop string; not because it was stopped or had all the tokens
    that it may have.
    """

    prompt_tokens: int = 0
    reused_tokens: int = 0
    visual_tokens: int = 0
    seen_tokens: int = 0
    answer_tokens: int = 0
    steps: dict[int, int] = field(default_factory=dict)
    first_token_s: float = 0.0
    total_s: float = 0.0
    finished: bool = False


@dataclass
class Run:
    """What an Answer and the generator behind it both know; neither holds the other, so a dropped one is closed."""

    stats: Stats = field(default_factory=Stats)
    stopped: threading.Event = field(default_factory=threading.Event)
    began: float = 0.0

    def wanted(self) -> bool:
        return not self.stopped.is_set()


class Answer(Iterator[str]):
    """The pieces of one answer. `stats` is complete when it ends.

    `stop()` ends it within a token, from any thread, and returns at once. `close()` stops it and waits until nothing
    runs any more; not from `progress`, which is a part of what it would wait for. A dropped answer is closed.
    """

    def __init__(self, run: Run, texts: Iterator[str]):
        self.stats, self._run, self._texts, self._running = run.stats, run, texts, threading.Lock()

    def __next__(self) -> str:
        with self._running:
            self._run.began = self._run.began or time.perf_counter()
            piece = next(self._texts, None)
            if piece is None:
                self.stats.total_s = self.stats.total_s or time.perf_counter() - self._run.began
                raise StopIteration
            return piece

    def stop(self) -> None:
        self._run.stopped.set()

    def close(self) -> None:
        self.stop()
        with self._running:
            self._texts.close()
