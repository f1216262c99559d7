"""What was used last, within a number of bytes."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any


class Recent:
    """Values with `nbytes`, up to `max_bytes` in all: the least recently used go first, the latest stays whatever its
    size. Safe to use from several threads.
    """

    def __init__(self, max_bytes: int):
        self.max_bytes, self.bytes = max_bytes, 0
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """None for what is not there."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, value) -> None:
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = value
            self.bytes += value.nbytes
            while self.bytes > self.max_bytes and len(self._kept) > 1:
                self.bytes -= self._kept.popitem(last=False)[1].nbytes
