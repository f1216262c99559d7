"""Prefill: computing what of a prompt is not in the KV cache yet, chunk by chunk.

Here: what identifies each token of a prompt, one chunk, the features of pictures, how long it will take. Not here:
whose turn it is (`scheduler`), OpenVINO (`ov_model`).
"""

import hashlib
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from session.caches import CachedPrefix, LRUCache
from session.chunks import chunk_end
from session.ov_model import VisionLanguageModel
from session.prompt import Prompt
from session.vision_inputs import VisionBlock

ENCODING, PREFILLING = "encoding", "prefilling"
DECAY = 0.5  # what an earlier measurement of the throughput still weighs when the next one comes


@dataclass(frozen=True)
class Progress:
    """What an answer is doing before its first token.

    stage: ENCODING (done and total count pictures and slices of videos) or PREFILLING (they count tokens).
    seconds_left: until the first token; None where nothing like it was measured yet.
    """

    stage: str
    done: int
    total: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class Estimate:
    """What an answer would take before its first token if nothing of it were cached.

    prompt_tokens: all of them; visual_tokens: those of pictures and videos. seconds: None before the first measurement.
    """

    prompt_tokens: int
    visual_tokens: int
    seconds: float | None


class PrefillPlan:
    """What has to be in the KV cache before the first token of an answer.

    owner: the visitor whose cached prefixes and features it may use. keys: a 64-bit number for each token; two prompts
    have a prefix in common exactly where their keys have one. Two pictures have the same placeholder ids, so the key of
    a visual token is made of the digest of its vision block. position_ids: (3, tokens); next_position: the one of the
    first token after the prompt. blocks: (index of its first visual token, vision block), in order.
    """

    def __init__(self, prompt: Prompt, model: VisionLanguageModel, owner: str = ""):
        self.prompt = prompt
        self.owner = owner
        self.position_ids, self.next_position = model.position_ids(prompt)
        self.keys = array("q")
        self.blocks: list[tuple[int, VisionBlock]] = []
        blocks = ((item, block) for item in prompt.media for block in item.blocks)
        while len(self.keys) < len(prompt.ids):
            token = prompt.ids[len(self.keys)]
            if token not in model.placeholder_ids:
                self.keys.append(token)
                continue
            item, block = next(blocks)
            self.blocks.append((len(self.keys), block))
            self.keys.extend([visual_key(item.kind, item.seconds, block)] * block.tokens)

    def __len__(self) -> int:
        return len(self.keys)

    def features_key(self, block: VisionBlock) -> tuple[str, bytes]:
        """The key of the block's features in the cache, which has those of all visitors."""
        return self.owner, block.digest

    def blocks_within(self, start: int, stop: int) -> Iterator[tuple[int, int, VisionBlock]]:
        """(index of the block, index of its first token, block) of all that have tokens in start … stop - 1."""
        for index, (first, block) in enumerate(self.blocks):
            if first < stop and start < first + block.tokens:
                yield index, first, block


def certain_tokens(prompt: Prompt, end_token_id: int) -> int:
    """How many tokens come before the end of the last message, whatever is still typed into it."""
    if end_token_id not in prompt.ids:
        return 0
    return len(prompt.ids) - 1 - prompt.ids[::-1].index(end_token_id)


def visual_key(kind: str, seconds: float | None, block: VisionBlock) -> int:
    """A negative number (those of text are token ids) for what the tokens of a block are to the language model."""
    digest = hashlib.blake2b(repr((kind, seconds)).encode() + block.digest, digest_size=8).digest()
    return -1 - int.from_bytes(digest, "big") // 2


class Prefiller:
    """Prefills with `model`, for one thread at a time.

    features: a cache of what the vision encoder computed (see `VisionLanguageModel.encode`), by
    `PrefillPlan.features_key`.
    """

    def __init__(self, model: VisionLanguageModel, features: LRUCache):
        self.model = model
        self.features = features
        self.throughput = ThroughputEstimate()
        self.encoding: tuple[str, bytes] | None = None  # key of the features that are being computed right now

    def blocks_to_encode(self, prefix: CachedPrefix, plan: PrefillPlan) -> list[tuple[int, VisionBlock]]:
        """(index, block) of those behind `prefix` whose features are not cached (any more); equal blocks once."""
        found: dict[bytes, tuple[int, VisionBlock]] = {}
        for index, _, block in plan.blocks_within(len(prefix.keys), len(plan)):
            if self.features.get(plan.features_key(block)) is None:
                found.setdefault(block.digest, (index, block))
        return list(found.values())

    def prefill_chunk(
        self,
        prefix: CachedPrefix,
        plan: PrefillPlan,
        limit: int,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> np.ndarray:
        """Compute the next chunk of `plan`, at most up to token `limit`; encodes pictures where needed.

        Returns logits, those of the last token in the last row (see `KVCache.forward`). Raises Interrupted, and then
        the prefix is what it was before.
        """
        start = len(prefix.keys)
        stop = chunk_end(start, limit)
        embeddings = self.model.embed(plan.prompt.ids[start:stop])
        for _, first, block in plan.blocks_within(start, stop):
            features = self.encode(plan, block)
            begin, end = max(start, first), min(stop, first + block.tokens)
            embeddings[:, begin - start : end - start] = features[:, begin - first : end - first]
        progress(Progress(PREFILLING, start, len(plan), self.throughput.seconds(0, len(plan) - start)))
        with self.throughput.measured(PREFILLING, stop - start):
            logits = prefix.cache.forward(embeddings, plan.position_ids[:, start:stop])
        prefix.keys += plan.keys[start:stop]
        return logits

    def encode(self, plan: PrefillPlan, block: VisionBlock) -> np.ndarray:
        """Features of a block of `plan`, cached or new. Raises Interrupted."""
        key = plan.features_key(block)
        features = self.features.get(key)
        if features is None:
            self.encoding = key
            try:
                with self.throughput.measured(ENCODING, block.tokens):
                    features = self.model.encode(block)
            finally:
                self.encoding = None
            self.features.put(key, features)
        return features


class ThroughputEstimate:
    """Predicts how long encoding and prefilling take on this machine, from how long they took.

    The encoder's cost grows faster than its tokens, so for a picture much larger than those before, the prediction is
    too low.
    """

    def __init__(self):
        self._measured = {ENCODING: (0.0, 0.0), PREFILLING: (0.0, 0.0)}  # (tokens, seconds)

    @contextmanager
    def measured(self, stage: str, tokens: int) -> Iterator[None]:
        """Inside, `tokens` tokens go through `stage`. What fails is not counted."""
        began = perf_counter()
        yield
        took = perf_counter() - began
        earlier_tokens, earlier_s = self._measured[stage]
        self._measured[stage] = (DECAY * earlier_tokens + tokens, DECAY * earlier_s + took)

    def seconds(self, encoding: int, prefilling: int) -> float | None:
        """Predicted seconds for so many tokens of each stage; None where one of them was not measured yet."""
        total = 0.0
        for stage, tokens in ((ENCODING, encoding), (PREFILLING, prefilling)):
            measured_tokens, measured_s = self._measured[stage]
            if tokens and not measured_tokens:
                return None
            if tokens:
                total += tokens * measured_s / measured_tokens
        return total
