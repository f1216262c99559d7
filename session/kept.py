"""Conversations that were read, kept for later, within bounds.

Everything here is a cache. What is thrown out is computed again, at a cost in time only. Not thread-safe: the session
holds its lock.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from session.model import KVCache

# A prefix below this share of the prompt is read again: OpenVINO reads tokens behind others several times slower than
# the first ones, and the system prompt alone should not put every new picture on the slow way.
SMALL = 1 / 8


@dataclass(eq=False)
class Conversation:
    """A KV cache, and of every token in it what makes it this token: an id, or a picture's digest and a place."""

    cache: KVCache
    keys: list[Hashable] = field(default_factory=list)


class Conversations:
    """Idle conversations, the most recently used last."""

    def __init__(self, new_cache: Callable[[], KVCache], max_idle: int, max_bytes: int):
        self._new_cache, self._max_idle, self._max_bytes = new_cache, max_idle, max_bytes
        self._idle: list[Conversation] = []

    @property
    def bytes(self) -> int:
        return sum(conversation.cache.bytes for conversation in self._idle)

    def __len__(self) -> int:
        return len(self._idle)

    def known(self, keys: list[Hashable]) -> int:
        """How many of `keys`, from the first on, some idle conversation has read."""
        return max((common(keys, idle.keys) for idle in self._idle), default=0)

    def take(self, keys: list[Hashable]) -> Conversation:
        """A conversation that has read a prefix of `keys`, the longest there is, but never all: the last token has
        to be read for its logits.

        An idle one that holds no more than that prefix is taken; else its prefix is copied, because whoever wrote the
        rest may come back. A short prefix is not worth it: see SMALL.
        """
        limit = len(keys) - 1
        shared = [min(limit, common(keys, idle.keys)) for idle in self._idle]
        best = max(shared, default=0)
        if best < SMALL * len(keys):
            return Conversation(self._new_cache())
        # Of several with the same prefix, the one that has the least beyond it.
        source = min((c for c, n in zip(self._idle, shared, strict=True) if n == best), key=lambda c: len(c.keys))
        if len(source.keys) == best:
            self._idle.remove(source)
            return source
        self._idle.sort(key=lambda idle: idle is source)  # it was of use just now: to the end
        copy = Conversation(self._new_cache(), keys[:best])
        copy.cache.copy_from(source.cache, best)
        return copy

    def give_back(self, conversation: Conversation) -> None:
        """Keep what was read; a conversation that another one contains is not kept twice, a broken one not at all."""
        keys = conversation.keys
        if not keys or conversation.cache.length != len(keys):
            return
        if any(common(keys, idle.keys) == len(keys) for idle in self._idle):
            return
        self._idle = [c for c in self._idle if common(keys, c.keys) < len(c.keys)] + [conversation]
        while len(self._idle) > self._max_idle or (self.bytes > self._max_bytes and self._idle):
            del self._idle[0]


def common(a: list[Hashable], b: list[Hashable]) -> int:
    """Length of the longest common prefix."""
    length = min(len(a), len(b))
    if a[:length] == b[:length]:
        return length
    return next(i for i in range(length) if a[i] != b[i])
