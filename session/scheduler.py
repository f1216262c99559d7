"""Who computes now: answers take turns, a picture, a chunk of the prompt or a token at a time; preparing gives way.

Not here: what is computed (`chat_session`, `session.prefill`). A turn is short, so that no visitor waits for another's
whole answer; batching several answers into one forward pass is not done (each has a KV cache in a request of its own).
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from session.answer import Interrupted
from session.ov_model import VisionLanguageModel
from session.prefill import PrefillPlan

POLL_S = 0.05  # between two checks whether the caller still wants its turn
IDLE_S = 0.3  # without an answer that computes, before preparing goes on


class FairLock:
    """A lock that is given to whoever has waited longest.

    threading.Lock is not fair: whoever releases it is the first to have it again, so a loop that takes and releases it
    all the time would keep everybody else out.
    """

    def __init__(self):
        self._lock = threading.Lock()  # of the queue
        self._queue: deque[threading.Event] = deque()  # the first one has the lock

    @contextlib.contextmanager
    def acquired(self, wanted: Callable[[], bool]) -> Iterator[None]:
        """Inside, nobody else has the lock. Raises Interrupted where it is not `wanted` any more before it comes."""
        mine = threading.Event()
        try:
            with self._lock:
                self._queue.append(mine)
                self._queue[0].set()
            self._wait(mine, wanted)
            yield
        finally:
            with self._lock:
                with contextlib.suppress(ValueError):  # Ctrl-C may have come before it was there
                    self._queue.remove(mine)
                if self._queue:
                    self._queue[0].set()

    def _wait(self, mine: threading.Event, wanted: Callable[[], bool]) -> None:
        while wanted():
            if mine.wait(POLL_S):
                return
        raise Interrupted


class Scheduler:
    """Gives the model to one caller at a time, and knows which answers are under way."""

    def __init__(self, model: VisionLanguageModel):
        self._model = model
        self._lock = FairLock()
        self._answers: list[PrefillPlan] = []  # of answers that compute, or wait to compute
        self._last_answer = 0.0  # time.monotonic() when one of them computed last

    @contextlib.contextmanager
    def turn(self, wanted: Callable[[], bool] = lambda: True, plan: PrefillPlan | None = None) -> Iterator[None]:
        """Inside, the model is ours, and what it computes is interrupted when it is no longer `wanted`.

        plan: of an answer; without one, this is not a turn of an answer. Raises Interrupted.
        """
        try:
            if plan is not None:
                self._answers.append(plan)
            with self._lock.acquired(wanted):
                self._model.wanted = wanted
                try:
                    yield
                finally:
                    self._model.wanted = lambda: True
        finally:
            if plan is not None:
                self._last_answer = time.monotonic()
                with contextlib.suppress(ValueError):  # Ctrl-C may have come before it was there
                    self._answers.remove(plan)

    def answers(self) -> tuple[PrefillPlan, ...]:
        """The plans of all answers that compute right now, or wait for their turn."""
        return tuple(self._answers)

    def is_idle(self) -> bool:
        """Nobody has wanted an answer for IDLE_S seconds."""
        return not self._answers and time.monotonic() - self._last_answer >= IDLE_S
