"""What is kept so that it is not computed twice: KV caches of earlier prompts, and an LRU cache for the rest.

Here: the forward pass on a KV cache, rolling it back; finding and evicting cached prefixes. Not here: what to prefill
(`session.prefill`).

All of it is a cache: what is evicted is computed again, at a cost in time only. The prefix cache does what vLLM calls
automatic prefix caching (https://docs.vllm.ai/en/latest/features/automatic_prefix_caching/), over whole conversations
instead of blocks of pages, because OpenVINO's state is one tensor for each layer.
"""

import threading
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adapters.openvino_runtime import MappedFile, ov
from session.answer import Interrupted
from session.chunks import is_worth_using

MAX_GAPS = 512  # tokens of rolled back answers in a KV cache; a copy of it has none


class KVCache:
    """Keys and values of the tokens so far, in an infer request of its own. Not thread-safe.

    request: of the language model; its state is this cache. wanted: asked before each forward pass. bytes_per_token: in
    float32. weights: the file that the language model was loaded from, which the first pass unpacks.

    Tokens that are rolled back stay in OpenVINO's state, behind a zero of the attention mask: to cut them out would
    copy the whole state, which takes as long as a forward pass. A copy has no such gaps.
    """

    def __init__(self, request: ov.InferRequest, wanted: Callable[[], bool], bytes_per_token: int, weights: MappedFile):
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

        embeddings: (1 + DeepStack's layers, tokens, hidden), see `ov_model.VisionLanguageModel.embed`. position_ids:
        (3, tokens), M-RoPE. Returns logits (rows, vocabulary): of every token where these are at most
        `ov_model.MAX_LOGIT_ROWS`, else of the last one. Raises Interrupted where it is not wanted; once begun it is not
        interrupted, because a cancelled inference would leave the state half changed.
        """
        if not self._wanted():
            raise Interrupted
        mask = np.append(self._mask, np.ones(embeddings.shape[1], dtype=np.int64))
        self._mask = None
        inputs = {
            "inputs_embeds": embeddings[:1],
            "attention_mask": mask[None],
            "position_ids": position_ids[:, None],
            "beam_idx": np.zeros(1, dtype=np.int32),
        }
        if len(embeddings) > 1:  # text counts as visual here, too, and adds zeros
            inputs["visual_pos_masks"] = np.ones((1, embeddings.shape[1]), dtype=bool)
            inputs["deepstack_visual_embeds"] = embeddings[1:]
        with self._weights.unpacking():
            self._request.infer(inputs, share_inputs=True)
        logits = np.array(self._request.get_tensor("logits").data[0])
        self._mask = mask
        return logits

    def roll_back(self, tokens: int) -> None:
        """As if the last `tokens` had never been computed (`crop` in Transformers)."""
        self._mask[np.flatnonzero(self._mask)[self.length - tokens :]] = 0

    @property
    def gaps(self) -> int:
        """How many tokens are rolled back, and still take memory and time."""
        return 0 if self._mask is None else len(self._mask) - self.length

    def copy_from(self, other: "KVCache", length: int) -> None:
        """Become what `other` was when it had `length` tokens."""
        positions = np.flatnonzero(other._mask)[:length]
        states = {state.name: state for state in other._request.query_state()}
        for state in self._request.query_state():
            # Keys or values of one layer: (1, KV heads, tokens, head size).
            state.state = ov.Tensor(np.ascontiguousarray(states[state.name].state.data[:, :, positions]))
        self._mask = np.ones(length, dtype=np.int64)

    @property
    def bytes(self) -> int:
        """Size in float32: an upper bound, whatever OpenVINO stores it in; 8 bits take a quarter of it."""
        return self._bytes_per_token * (0 if self._mask is None else len(self._mask))


@dataclass(eq=False)
class CachedPrefix:
    """A KV cache, and for every token in it a key (see `prefill.PrefillPlan`).

    owner: the visitor whom it serves, and nobody else. prompt_tokens: how many of `keys`, from the first on, are the
    prompt that it was last used for; the others are its answer.
    """

    cache: KVCache
    owner: str = ""
    keys: array = field(default_factory=lambda: array("q"))
    prompt_tokens: int = 0


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
        """Bytes of the KV caches that no answer is using, in float32. From any thread."""
        return _bytes_of([*self._idle, *self._released])

    def match(self, keys: array, owner: str) -> int:
        """How many of `keys`, from the first on, some cached prefix of the owner has."""
        self._settle()
        return max((common_length(keys, idle.keys) for idle in self._idle if idle.owner == owner), default=0)

    def take(self, keys: array, owner: str) -> CachedPrefix:
        """The owner's longest cached prefix of `keys`, for the caller alone until it is released; an empty one where
        there is none that is worth using. Never all of `keys`: the last token is computed for its logits.

        A KV cache that holds no more than that prefix is handed out, and so is one that holds the same prompt and an
        answer to it, which is asked for once more; else its prefix is copied, because whoever asked for the rest may
        come back.
        """
        self._settle()
        limit = len(keys) - 1
        own = [idle for idle in self._idle if idle.owner == owner]
        shared = [min(limit, common_length(keys, idle.keys)) for idle in own]
        longest = max(shared, default=0)
        if not is_worth_using(longest, len(keys)):
            return CachedPrefix(self._new_cache(), owner)
        candidates = [idle for idle, length in zip(own, shared, strict=True) if length == longest]
        source = min(candidates, key=lambda idle: len(idle.keys))  # the one that has the least beyond it
        self._idle.remove(source)
        beyond = len(source.keys) - longest
        same_prompt = longest == limit and source.prompt_tokens == len(keys)
        if beyond == 0 or (same_prompt and source.cache.gaps + beyond <= MAX_GAPS):
            source.cache.roll_back(beyond)
            del source.keys[longest:]
            return source
        self._idle.append(source)  # the most recently used
        copy = CachedPrefix(self._new_cache(), owner, keys[:longest])
        copy.cache.copy_from(source.cache, longest)
        return copy

    def release(self, prefix: CachedPrefix) -> None:
        """Take back what `take` gave. From any thread: the garbage collector may end an answer in the middle of
        another's turn.
        """
        self._released.append(prefix)

    def _settle(self) -> None:
        """Take in what was released meanwhile; in the one thread that may change `_idle`."""
        while self._released:
            self._insert(self._released.popleft())

    def _insert(self, prefix: CachedPrefix) -> None:
        """What another one contains is not kept twice, and a broken one not at all."""
        keys = prefix.keys
        if not keys or prefix.cache.length != len(keys):
            return
        kept = []
        for idle in self._idle:
            shared = common_length(keys, idle.keys) if idle.owner == prefix.owner else 0
            if shared == len(keys):
                return
            if shared < len(idle.keys):
                kept.append(idle)
        self._idle = [*kept, prefix]
        while len(self._idle) > self._max_idle or (_bytes_of(self._idle) > self._max_bytes and self._idle):
            del self._idle[0]


def _bytes_of(prefixes: list[CachedPrefix]) -> int:
    return sum(prefix.cache.bytes for prefix in prefixes)


def common_length(a: array, b: array) -> int:
    """Length of the longest common prefix of two arrays of 64-bit integers: 2 for (1, 2, 3) and (1, 2, 4).

    By NumPy, because it is asked in somebody's turn, for every cached prefix: 64 times 32 000 keys take 1 ms.
    """
    length = min(len(a), len(b))
    if not length:
        return 0
    differ = np.frombuffer(a, np.int64, length) != np.frombuffer(b, np.int64, length)
    first = int(differ.argmax())
    return first if differ[first] else length


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
        """Keep `value`, unless there is one of that key already."""
        with self._lock:
            if key in self._values:
                return
            self._values[key] = value
            self.bytes += value.nbytes
            while self.bytes > self.max_bytes and len(self._values) > 1:
                _, evicted = self._values.popitem(last=False)
                self.bytes -= evicted.nbytes
