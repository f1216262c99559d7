"""Who computes now: one caller at a time, in the order in which they asked."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from session.model import Interrupted

PATIENCE = 0.05  # seconds between two looks whether the caller still wants its turn


class Turns:
    """A lock that is fair: a loop that takes and gives it all the time lets the others in between.

    threading.Lock is not: whoever gives it back is the first to have it again.
    """

    def __init__(self):
        self._lock, self._queue = threading.Lock(), deque()

    @contextmanager
    def turn(self, wanted: Callable[[], bool]) -> Iterator[None]:
        """Inside, nobody else's turn is. Raises Interrupted where it is no longer `wanted` before it comes."""
        mine = threading.Event()
        with self._lock:
            self._queue.append(mine)
            self._queue[0].set()
        try:
            while not mine.wait(PATIENCE):
                if not wanted():
                    raise Interrupted
            yield
        finally:
            with self._lock:
                self._queue.remove(mine)
                if self._queue:
                    self._queue[0].set()
