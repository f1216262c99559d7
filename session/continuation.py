"""Going on with an answer that was cut: which tokens it had, so that its KV cache serves and the next word is right.

Text alone does not say: " unbeliev" and "able" may have been one token each, where a tokenizer would cut the whole
otherwise. So the tokens of the latest answers are kept: four bytes each.

Not here: the cache of keys and values (`caches`).
"""

import hashlib
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from session.prompt import Prompt, SessionError, content_parts

MAX_ANSWERS = 256  # whose tokens are kept


@dataclass
class WrittenAnswer:
    """An answer as far as it is there.

    owner: the visitor who gets it. prompt: see `fingerprint`. tokens: its own, without one that ended it; `shown` of
    them are in its text, the others begin a character that is not whole yet.
    """

    owner: str
    prompt: bytes
    text: str = ""
    tokens: array = field(default_factory=lambda: array("i"))
    shown: int = 0

    @property
    def pending(self) -> array:
        """The tokens that are not in the text yet."""
        return self.tokens[self.shown :]

    def noting_tokens(self, tokens: Iterable[int]) -> Iterator[int]:
        """`tokens`, each noted as it passes."""
        for token in tokens:
            self.tokens.append(token)
            yield token

    def noting_text(self, pieces: Iterable[str]) -> Iterator[str]:
        """Each of `pieces` is the text of all tokens noted so far that no piece had before."""
        for piece in pieces:
            self.text += piece
            self.shown = len(self.tokens)
            yield piece


class WrittenAnswers:
    """The latest answers. From any thread."""

    def __init__(self):
        self._latest: deque[WrittenAnswer] = deque(maxlen=MAX_ANSWERS)

    def new(self, owner: str, question: Prompt, begun: str, tokenizer) -> WrittenAnswer:
        """An answer to `question` that begins with the text `begun`: with the tokens that this had, where it was
        written here and not long ago, else with those that the tokenizer makes of it.
        """
        asked = fingerprint(question)
        same = [answer for answer in list(self._latest) if (answer.owner, answer.prompt) == (owner, asked)]
        before = next((answer for answer in reversed(same) if begun and answer.text == begun), None)
        if before is not None:
            answer = WrittenAnswer(owner, asked, begun, before.tokens[:], before.shown)
        else:
            tokens = tokenizer(begun, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            answer = WrittenAnswer(owner, asked, begun, array("i", tokens), len(tokens))
        self._latest.append(answer)
        return answer


def split_final(messages: list[dict]) -> tuple[list[dict], str]:
    """The messages before the last one, and the text of that, which is an answer to go on with. Raises SessionError."""
    final = messages[-1] if messages else {}
    if final.get("role") != "assistant" or any(part["type"] != "text" for part in content_parts(final)):
        raise SessionError("There is no answer to go on with: the last message must be text from the assistant.")
    return messages[:-1], "".join(part["text"] for part in content_parts(final))


def fingerprint(prompt: Prompt) -> bytes:
    """The same for the same tokens and pictures, and only for these."""
    digest = hashlib.blake2b(np.array(prompt.ids, dtype=np.int64), digest_size=16)
    for item in prompt.media:
        digest.update(repr((item.kind, item.seconds, [block.digest for block in item.blocks])).encode())
    return digest.digest()
