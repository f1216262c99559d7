"""What is kept so that it is not computed twice: KV caches of earlier prompts, and an LRU cache for the rest.

Here: the forward pass on a KV cache, rolling it back; finding and evicting cached prefixes. Not here: what to prefill
(`session.prefill`).

All of it is a cache: what is evicted is computed again, at a cost in time only. The prefix cache does what vLLM calls
automatic prefix caching (https://docs.vllm.ai/en/latest/features/automatic_prefix_caching/), over whole conversations
instead of blocks of pages, because OpenVINO's state is one tensor for each layer.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adapters.openvino_runtime import MappedFile, ov
from session.answer import Interrupted

# A cached prefix below this share of the prompt is not used: OpenVINO prefills tokens behind others several times more
# slowly than the first ones, and the system prompt alone should not put every new picture on the slow way.
MIN_PREFIX_SHARE = 1 / 8


class KVCache:
    """Keys and values of the tokens so far, in an infer request of its own. Not thread-safe.

    request: of the language model; its state is this cache. wanted: asked before each forward pass. bytes_per_token: in
    float32. weights: the file that the language model was loaded from, which the first pass unpacks.

    Tokens that are rolled back stay in OpenVINO's state, behind a zero of the attention mask: to cut them out would
    copy the whole state, which takes as long as a forward pass. A copy has no such gaps.
    """

    def __init__(
        self, request: ov.InferRequest, wanted: Callable[[], bool], bytes_per_token: int, weights: MappedFile
    ):
        self._request = request
        self._wanted = wanted
        self._bytes_per_token = bytes_per_token
        self._weights = weights
        self._mask: np.ndarray | None = np.ones(0, dtype=np.int64)  # of what the state holds; None: nobody knows

    @property
    def length(self) -> int:
        """How many tokens are in the cache and not rolled back; -1 after a `forward` that failed."""
        return -1 if self._mask is None else int(self._mask.sum())

    def forward(self, embeddings: np.ndarray, position_ids: np.ndarray) -> np.ndarray:
        """Compute tokens behind those of the cache, and add them to it.

        embeddings: (tokens, hidden). position_ids: (3, tokens), M-RoPE. Returns logits (rows, vocabulary): of every
        token where these are at most `ov_model.MAX_LOGIT_ROWS`, else of the last one. Raises Interrupted where it is
        not wanted; once begun it is not interrupted, because a cancelled inference would leave the state half changed.
        """
        if not self._wanted():
            raise Interrupted
        mask = np.append(self._mask, np.ones(len(embeddings), dtype=np.int64))
        self._mask = None
        inputs = {
            "inputs_embeds": embeddings[None],
            "attention_mask": mask[None],
            "position_ids": position_ids[:, None],
            "beam_idx": np.zeros(1, dtype=np.int32),
        }
        with self._weights.unpacking():
            self._request.infer(inputs, share_inputs=True)
        logits = np.array(self._request.get_tensor("logits").data[0])
        self._mask = mask
        return logits

    def roll_back(self, tokens: int) -> None:
        """As if the last `tokens` of the last `forward` had never been computed (`crop` in Transformers)."""
        self._mask[len(self._mask) - tokens :] = 0

    def copy_from(self, other: "KVCache", length: int) -> None:
        """Become what `other` was when it had `length` tokens."""
        positions = np.flatnonzero(other._mask)[:length]
        states = {state.name: state for state in other._request.query_state()}
        for state in self._request.query_state():
            state.state = ov.Tensor(np.ascontiguousarray(states[state.name].state.data[:, :, positions]))
        self._mask = np.ones(length, dtype=np.int64)

    @property
    def bytes(self) -> int:
        """Size in float32: an upper bound, whatever OpenVINO stores it in; 8 bits take a quarter of it."""
        return self._bytes_per_token * (0 if self._mask is None else len(self._mask))


@dataclass(eq=False)
class CachedPrefix:
    """A KV cache, and for every token in it a key (see `prefill.PrefillPlan`)."""

    cache: KVCache
    keys: list[Hashable] = field(default_factory=list)


class PrefixCache:
    """KV caches that no answer is using right now, the most recently used last.

    new_cache: makes an empty KV cache. max_idle, max_bytes: how many are kept, and how much of them. Not thread-safe,
    except `release`.
    """

    def __init__(self, new_cache: Callable[[], KVCache], max_idle: int, max_bytes: int):
        self._new_cache = new_cache
        self._max_idle = max_idle
        self._max_bytes = max_bytes
        self._idle: list[CachedPrefix] = []
        self._released: deque[CachedPrefix] = deque()  # not yet taken into `_idle`

    def __len__(self) -> int:
        self._settle()
        return len(self._idle)

    @property
    def bytes(self) -> int:
        self._settle()
        return self._idle_bytes()

    def match(self, keys: list[Hashable]) -> int:
        """How many of `keys`, from the first on, some cached prefix has."""
        self._settle()
        return max((common_length(keys, idle.keys) for idle in self._idle), default=0)

    def take(self, keys: list[Hashable]) -> CachedPrefix:
        """The longest cached prefix of `keys`, for the caller alone until it is released; an empty one where there is
        none, or none of MIN_PREFIX_SHARE. Never all of `keys`: the last token is computed for its logits.

        A KV cache that holds no more than that prefix is handed out; else its prefix is copied, because whoever asked
        for the rest may come back.
        """
        self._settle()
        limit = len(keys) - 1
        shared = [min(limit, common_length(keys, idle.keys)) for idle in self._idle]
        longest = max(shared, default=0)
        if longest < MIN_PREFIX_SHARE * len(keys):
            return CachedPrefix(self._new_cache())
        candidates = [idle for idle, length in zip(self._idle, shared, strict=True) if length == longest]
        source = min(candidates, key=lambda idle: len(idle.keys))  # the one that has the least beyond it
        if len(source.keys) == longest:
            self._idle.remove(source)
            return source
        self._idle.remove(source)
        self._idle.append(source)  # the most recently used
        copy = CachedPrefix(self._new_cache(), keys[:longest])
        copy.cache.copy_from(source.cache, longest)
        return copy

    def release(self, prefix: CachedPrefix) -> None:
        """Take back what `take` gave. From any thread: the garbage collector may end an answer in the middle of
        another's turn.
        """
        self._released.append(prefix)

    def _settle(self) -> None:
        while self._released:
            self._insert(self._released.popleft())

    def _insert(self, prefix: CachedPrefix) -> None:
        """What another one contains is not kept twice, and a broken one not at all."""
        keys = prefix.keys
        if not keys or prefix.cache.length != len(keys):
            return
        if any(common_length(keys, idle.keys) == len(keys) for idle in self._idle):
            return
        self._idle = [idle for idle in self._idle if common_length(keys, idle.keys) < len(idle.keys)]
        self._idle.append(prefix)
        while len(self._idle) > self._max_idle or (self._idle_bytes() > self._max_bytes and self._idle):
            del self._idle[0]

    def _idle_bytes(self) -> int:
        return sum(prefix.cache.bytes for prefix in self._idle)


def common_length(a: list[Hashable], b: list[Hashable]) -> int:
    """Length of the longest common prefix: common_length([1, 2, 3], [1, 2, 4]) is 2."""
    length = min(len(a), len(b))
    if a[:length] == b[:length]:
        return length
    return next(i for i in range(length) if a[i] != b[i])


class LRUCache:
    """Values with an attribute `nbytes`, up to `max_bytes` in all. The least recently used are evicted first; the
    latest stays, whatever its size. Safe to use from several threads.
    """

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        self.bytes = 0
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """None for what is not there."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value) -> None:
        with self._lock:
            if key in self._values:
                return
            self._values[key] = value
            self.bytes += value.nbytes
            while self.bytes > self.max_bytes and len(self._values) > 1:
                _, evicted = self._values.popitem(last=False)
                self.bytes -= evicted.nbytes
