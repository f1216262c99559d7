"""Reading a prompt on from where a conversation stands: look at what was not seen, embed, place, feed.

Here: what identifies each token, and one chunk of reading. Not here: whose turn it is (`chat_session`), OpenVINO
(`model`).
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

import numpy as np

from session.kept import Conversation, Features
from session.model import VisionLanguageModel
from session.prompt import Block, Prompt

CHUNK = 2048  # tokens read in one piece: between two, others get their turn


@dataclass(frozen=True)
class Progress:
    """`doing` is "looking" (done and total count pictures and slices of videos) or "reading" (tokens)."""

    doing: str
    done: int
    total: int


class Work:
    """What there is to read: `keys` (for every token what makes it this one), positions, and blocks with the place of
    their first visual token.

    Two pictures have the same placeholder ids, so a visual token's key is its picture's digest and its place there.
    """

    def __init__(self, prompt: Prompt, model: VisionLanguageModel):
        self.prompt = prompt
        self.places, self.next_place = model.positions(prompt)  # (3, tokens); an int
        self.keys: list[Hashable] = []
        self.blocks: list[tuple[int, Block]] = []
        media = iter(prompt.media)
        while len(self.keys) < len(prompt.ids):
            token = prompt.ids[len(self.keys)]
            if token not in model.placeholders:
                self.keys.append(token)
                continue
            medium = next(media)
            for block in medium.blocks():
                self.blocks.append((len(self.keys), block))
                self.keys += [(medium.kind, medium.seconds, block.digest, i) for i in range(block.tokens)]

    def __len__(self) -> int:
        return len(self.keys)

    def starts_with(self, keys: list[Hashable]) -> bool:
        return self.keys[: len(keys)] == keys

    def within(self, start: int, stop: int) -> Iterator[tuple[int, int, Block]]:
        """(number, place of the first visual token, block) of the blocks that have tokens between the two."""
        for number, (first, block) in enumerate(self.blocks):
            if first < stop and start < first + block.tokens:
                yield number, first, block


class Reader:
    """Reads with `model`, and keeps in `features` what it saw. For one thread at a time."""

    def __init__(self, model: VisionLanguageModel, features: Features):
        self.model, self.features = model, features
        self.looking_at: bytes | None = None  # digest of the block that is being seen right now
        self.seen_tokens = 0  # visual tokens encoded so far

    def read_on(self, conversation: Conversation, work: Work, limit: int, progress: Callable = lambda _: None):
        """Read up to CHUNK more tokens of `work`, at most up to `limit`. Returns the logits (vocabulary,) of the last.

        Raises Interrupted, and then the conversation stands where it stood.
        """
        start = len(conversation.keys)
        stop = min(limit, start + CHUNK)
        embeddings = self.model.embed(work.prompt.ids[start:stop])
        for number, first, block in work.within(start, stop):
            seen = self._look(block, lambda: progress(Progress("looking", number, len(work.blocks))))  # noqa: B023
            begin, end = max(start, first), min(stop, first + block.tokens)
            embeddings[begin - start : end - start] = seen[begin - first : end - first]
        progress(Progress("reading", start, len(work)))
        logits = conversation.cache.read(embeddings, work.places[:, start:stop])
        conversation.keys += work.keys[start:stop]
        return logits

    def _look(self, block: Block, tell: Callable[[], None]) -> np.ndarray:
        features = self.features.get(block.digest)
        if features is None:
            tell()
            self.looking_at = block.digest
            try:
                features = self.model.see(block)
            finally:
                self.looking_at = None
            self.features.put(block.digest, features)
            self.seen_tokens += block.tokens
        return features
