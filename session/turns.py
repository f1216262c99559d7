"""Who computes now: one caller at a time, in the order in which they asked."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator

PATIENCE = 0.05  # seconds between two looks whether the caller still wants its turn


class Interrupted(Exception):
    """A computation was stopped, or not begun, because nobody wants its result any more."""


class Turns:
    """A lock that is fair: a loop that takes and gives it all the time lets the others in between.

    threading.Lock is not: whoever gives it back is the first to have it again.
    """

    def __init__(self):
        self._lock, self._queue = threading.Lock(), deque()

    @contextlib.contextmanager
    def turn(self, wanted: Callable[[], bool]) -> Iterator[None]:
        """Inside, it is nobody else's turn. Raises Interrupted where it is not `wanted` (any more) before it comes."""
        mine = threading.Event()
        try:
            with self._lock:
                self._queue.append(mine)
                self._queue[0].set()
            while wanted():
                if mine.wait(PATIENCE):
                    break
            else:
                raise Interrupted
            yield
        finally:
            with self._lock:
                with contextlib.suppress(ValueError):  # Ctrl-C may have come before it was there
                    self._queue.remove(mine)
                if self._queue:
                    self._queue[0].set()
