"""Reading a prompt on from where a conversation stands: look at what was not seen, embed, place, feed.

Here: what identifies each token, and one chunk of reading. Not here: whose turn it is (`chat_session`), OpenVINO
(`model`).
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

import numpy as np

from session.kept import Conversation
from session.model import VisionLanguageModel
from session.pace import Pace
from session.patches import Block
from session.prompt import Prompt
from session.recent import Recent

# Tokens read in one piece. Between two, an answer can be stopped, and others get their turn; but a piece behind others
# is read more slowly: 1024 tokens of a 2B model take half as long again in pieces of 512.
CHUNK = 1024


@dataclass(frozen=True)
class Progress:
    """`doing` is "looking" (done and total count pictures and slices of videos) or "reading" (tokens). seconds_left:
    until the first token, None where nothing like it was measured yet.
    """

    doing: str
    done: int
    total: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class Estimate:
    """What an answer takes before its first token, if nothing was known: tokens, `visual_tokens` of them of pictures;
    seconds, None where nothing like it was measured yet.
    """

    prompt_tokens: int
    visual_tokens: int
    seconds: float | None


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
            for block in medium.blocks:
                self.blocks.append((len(self.keys), block))
                self.keys += [(medium.kind, medium.seconds, block.digest, i) for i in range(block.tokens)]

    def __len__(self) -> int:
        return len(self.keys)

    def within(self, start: int, stop: int) -> Iterator[tuple[int, int, Block]]:
        """(number, place of the first visual token, block) of the blocks that have tokens between the two."""
        for number, (first, block) in enumerate(self.blocks):
            if first < stop and start < first + block.tokens:
                yield number, first, block


class Reader:
    """Reads with `model`, and keeps in `features`, by the digest of its block, what it saw: (visual tokens, hidden).
    For one thread at a time.
    """

    def __init__(self, model: VisionLanguageModel, features: Recent):
        self.model, self.features, self.pace = model, features, Pace()
        self.looking_at: bytes | None = None  # digest of the block that is being seen right now

    def unseen(self, conversation: Conversation, work: Work) -> list[tuple[int, Block]]:
        """(number, block) of what is still to be read and was not seen yet, or is not kept any more."""
        ahead = work.within(len(conversation.keys), len(work))
        return [(number, block) for number, _, block in ahead if self.features.get(block.digest) is None]

    def read_on(self, conversation: Conversation, work: Work, limit: int, progress: Callable = lambda _: None):
        """Read up to CHUNK more tokens of `work`, at most up to `limit`. Returns logits, those of the last in
        the last row (see `KVCache.read`).

        What was not seen yet, or is not kept any more, is seen first.

        Raises Interrupted, and then the conversation stands where it stood.
        """
        start = len(conversation.keys)
        stop = min(limit, start + CHUNK)
        embeddings = self.model.embed(work.prompt.ids[start:stop])
        for _, first, block in work.within(start, stop):
            seen = self.look(block)
            begin, end = max(start, first), min(stop, first + block.tokens)
            embeddings[begin - start : end - start] = seen[begin - first : end - first]
        progress(Progress("reading", start, len(work), self.pace.seconds(0, len(work) - start)))
        with self.pace.measured("reading", stop - start):
            logits = conversation.cache.read(embeddings, work.places[:, start:stop])
        conversation.keys += work.keys[start:stop]
        return logits

    def look(self, block: Block) -> np.ndarray:
        """Features (visual tokens, hidden) of a block, kept or new."""
        features = self.features.get(block.digest)
        if features is None:
            self.looking_at = block.digest
            try:
                with self.pace.measured("looking", block.tokens):
                    features = self.model.see(block)
            finally:
                self.looking_at = None
            self.features.put(block.digest, features)
        return features
