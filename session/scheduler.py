"""Who computes now: answers take turns, a picture, a chunk of the prompt or a token at a time; preparing gives way.

Not here: what is computed (`chat_session`, `session.prefill`). A turn is short, so that no visitor waits for another's
whole answer; batching several answers into one forward pass is not done (each has a KV cache in a request of its own).
"""

import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from session.answer import Interrupted
from session.ov_model import VisionLanguageModel
from session.prefill import PrefillPlan

POLL_S = 0.05  # between two checks whether the caller still wants its turn
IDLE_S = 0.3  # without an answer that computes, before preparing goes on


def group_of(visitor: str) -> str:
    """Who shares their time with `visitor`: all whose names begin alike. "10.0.0.7/tab 1" -> "10.0.0.7" """
    return visitor.partition("/")[0]


class Turn:
    """Inside `with turn:` the model is ours, and what it computes is interrupted when it is no longer `wanted`.

    plan: of an answer; None for others. Entering raises Interrupted where it is not wanted any more, and RuntimeError
    where this very thread has the turn already, for which it would wait for ever.
    """

    def __init__(self, scheduler: "Scheduler", wanted: Callable[[], bool], plan: PrefillPlan | None, group: str):
        self.wanted = wanted
        self.plan = plan
        self.group = group
        self.thread = threading.get_ident()
        self.granted = threading.Event()
        self.began = 0.0  # time.perf_counter() when it was granted
        self._scheduler = scheduler
        self._frame: FrameType | None = None  # of the function with the `with`

    def __enter__(self) -> None:
        self._frame = sys._getframe(1)
        try:
            self._scheduler.wait(self)
        except BaseException:
            self._scheduler.leave(self)
            raise

    def __exit__(self, *_) -> None:
        self._scheduler.leave(self)

    def is_abandoned(self) -> bool:
        """Its function is over, but it was not given back: a second Ctrl-C came while the first one was heeded."""
        frame = sys._current_frames().get(self.thread)
        while frame is not None and frame is not self._frame:
            frame = frame.f_back
        return frame is None


class Scheduler:
    """Gives the model to one caller at a time, and knows which answers are under way.

    Next is the group of visitors who have had the least time of late, and of their answers the one that has waited
    longest. So a hundred answers of one group take no more from another than one would (start-time fair queueing,
    https://doi.org/10.1109/90.649569: a newcomer begins where those who wait stand now, not at nothing).
    """

    def __init__(self, model: VisionLanguageModel):
        self._model = model
        self._lock = threading.Lock()  # of what follows
        self._turns: list[Turn] = []  # in the order in which they came; at most one of them is granted
        self._used: dict[str, float] = {}  # group: the seconds it stands at (its virtual time), from a common beginning
        self._now = 0.0  # virtual time: where the group of the latest turn stood when that began
        self._last_answer = 0.0  # time.monotonic() when an answer computed last

    def turn(
        self, wanted: Callable[[], bool] = lambda: True, plan: PrefillPlan | None = None, group: str = ""
    ) -> Turn:
        return Turn(self, wanted, plan, group)

    def answers(self) -> tuple[PrefillPlan, ...]:
        """The plans of all answers that compute right now, or wait for their turn."""
        return tuple(turn.plan for turn in tuple(self._turns) if turn.plan is not None and not turn.is_abandoned())

    def refuse_second_turn(self) -> None:
        """RuntimeError where this very thread has the turn already, for which it would wait for ever."""
        mine = [turn for turn in tuple(self._turns) if turn.thread == threading.get_ident() and turn.granted.is_set()]
        if not all(turn.is_abandoned() for turn in mine):
            raise RuntimeError(
                "The session was asked for something by its own `progress` or `wanted`, while it computes and waits "
                "for them. Let them only note what they are told, and ask from elsewhere."
            )

    def is_idle(self) -> bool:
        """Nobody has wanted an answer for IDLE_S seconds."""
        return not self.answers() and time.monotonic() - self._last_answer >= IDLE_S

    def wait(self, turn: Turn) -> None:
        """Return when `turn` is granted. Raises what entering a Turn raises."""
        self.refuse_second_turn()
        with self._lock:
            self._turns.append(turn)
            self._grant()
        while turn.wanted():
            if turn.granted.wait(POLL_S):
                self._model.wanted = turn.wanted
                return
            with self._lock:
                self._grant()
        raise Interrupted

    def leave(self, turn: Turn) -> None:
        """Give `turn` back, or withdraw it where it was not granted yet; then the next one computes."""
        with self._lock:
            if turn not in self._turns:
                return
            if turn.granted.is_set():
                self._model.wanted = lambda: True
                self._used[turn.group] = self._now + time.perf_counter() - turn.began
                self._used = {group: used for group, used in self._used.items() if used > self._now}
            if turn.plan is not None:
                self._last_answer = time.monotonic()
            self._turns.remove(turn)
            self._grant()

    def _grant(self) -> None:
        """Let the next one compute, unless somebody does."""
        self._turns = [turn for turn in self._turns if not turn.is_abandoned()]
        if not self._turns or any(turn.granted.is_set() for turn in self._turns):
            return
        turn = min(self._turns, key=self._stands_at)
        self._now = self._stands_at(turn)
        turn.began = time.perf_counter()
        turn.granted.set()

    def _stands_at(self, turn: Turn) -> float:
        """The start tag of fair queueing: where the group stands; a newcomer stands at `_now`."""
        return max(self._now, self._used.get(turn.group, 0.0))
