"""Decode: from logits to tokens, several in one step where they can be drafted, and from tokens to pieces of text.

Here: draft tokens, why an answer ends, detokenizing, stop strings. Not here: how one token is taken
(`session.sampling`), where logits come from (`caches.KVCache.forward`), beams, several answers at once.
"""

from collections.abc import Callable, Generator, Iterable, Iterator

import numpy as np

from session.sampling import Sampler, SamplingParams
from session.structured import JsonConstraint

INCOMPLETE = "\N{REPLACEMENT CHARACTER}"  # what a tokenizer makes of the first bytes of a character
MAX_NGRAM = 3  # latest tokens that are looked up; where these never stood before, fewer
MIN_ACCEPTANCE = 0.12  # of drafts, for one upon a match of a single token: what a step with a draft token costs more
FIRST_ACCEPTANCE = 0.1  # taken for the share of drafts that are accepted, as long as nothing is known
ACCEPTANCE_WEIGHT = 0.1  # of the latest draft in that share

STOP, LENGTH, REPETITION = "stop", "length", "repetition"  # why an answer ended; the first two are OpenAI's words
MIN_REPEATED = 300  # tokens that repeat one run before an answer counts as endless
MIN_TIMES = 5  # that the run came in a row, however long it is
MAX_RUN = 400  # tokens in the run
PROBE = 32  # latest tokens that are looked up to find the run
CHECK_EVERY = 16  # tokens


def repeats_endlessly(text: str) -> bool:
    """Whether `text` (tokens of an answer, a character each) ends with one run of tokens, over and over.

    The run must have come at least MIN_TIMES in a row and fill MIN_REPEATED tokens: rows of a table, of zeros or of
    dashes repeat themselves as well, but not for so long.
    """
    at = text.rfind(text[-PROBE:], max(0, len(text) - PROBE - MAX_RUN), len(text) - 1)
    if len(text) < MIN_REPEATED or at < 0:
        return False
    run = len(text) - PROBE - at
    repeated = max(MIN_REPEATED, MIN_TIMES * run)
    return len(text) >= repeated and text[-repeated:-run] == text[-repeated + run :]


class DraftDecoder:
    """An answer's tokens, with prompt lookup decoding (https://github.com/apoorvumang/prompt-lookup-decoding).

    What followed the last time that the latest tokens stood in the conversation is drafted, and goes through the model
    along with the latest token. A draft token is accepted if it is the one that would have been sampled without it, so
    drafts change how soon an answer is there and nothing else.

    ids: all tokens so far, the prompt's too. max_draft_tokens: in one step. For a 2B model a step with one draft token
    takes 1.03 to 1.12 times as long as one without, with three 1.3 to 1.6 times (`python -m benchmarks drafts`). So a
    draft needs the latest two tokens to have stood before, or only the latest one while enough drafts are accepted; and
    it has one token, or more after two drafts in a row that were accepted as a whole.

    constraint: keeps the answer to a JSON schema. What that leaves no choice about is drafted, too.
    """

    def __init__(
        self,
        params: SamplingParams,
        prompt_ids: list[int],
        max_draft_tokens: int,
        constraint: JsonConstraint | None = None,
    ):
        self.ids = list(prompt_ids)
        self.finish_reason = ""  # STOP, LENGTH or REPETITION when there is nothing more to come
        self._prompt_tokens = len(prompt_ids)
        self._end_token_ids = params.end_token_ids
        self._stop_repetition = params.stop_repetition
        self._max_draft_tokens = max_draft_tokens
        self._constraint = constraint
        self._acceptance = FIRST_ACCEPTANCE  # share of drafts whose first token is accepted; the latest weigh most
        self._accepted_in_a_row = 0  # drafts, each as a whole
        self._sampler = Sampler(params, len(prompt_ids))
        self._tokens_left = params.max_new_tokens
        self._searchable = "".join(map(chr, self.ids))  # a character for each token: searched at the speed of C

    def is_end(self, token: int) -> bool:
        return token in self._end_token_ids

    def draft(self) -> list[int]:
        """The tokens that may come next; at most one less than may still be generated."""
        if self._constraint and (forced := self._constraint.forced()):
            return forced[: min(self._max_draft_tokens, self._tokens_left - 1)]
        longest_draft = min(max(1, self._accepted_in_a_row), self._max_draft_tokens, self._tokens_left - 1)
        shortest_match = 1 if self._acceptance >= MIN_ACCEPTANCE else 2
        for length in range(MAX_NGRAM, shortest_match - 1, -1):
            at = self._searchable.rfind(self._searchable[-length:], 0, -1)
            if at >= 0:
                followed = self._searchable[at + length :]
                return [ord(token) for token in followed[:longest_draft]]
        return []

    def accept(self, logits: np.ndarray, draft: list[int]) -> list[int]:
        """New tokens: those of `draft` that are accepted, and one more unless the answer ends before it.

        logits: (1 + len(draft), vocabulary), of the last of `ids` and of every draft token.
        """
        new: list[int] = []
        for row, drafted in zip(logits, [*draft, None], strict=True):
            token = self._sample(row)
            new.append(token)
            self.ids.append(token)
            self._searchable += chr(token)
            self._tokens_left -= 1
            self.finish_reason = self._why_it_ends()
            if self.finish_reason or token != drafted:
                break
        if draft:
            self._count_acceptance(first=new[0] == draft[0], all_=len(new) > len(draft))
        return new

    def _sample(self, logits: np.ndarray) -> int:
        if self._constraint is None:
            return self._sampler.sample(self.ids, logits)
        token = self._sampler.sample(self.ids, logits, self._constraint.forbid)
        if not self.is_end(token):
            self._constraint.accept([token])
        return token

    def _why_it_ends(self) -> str:
        if self.is_end(self.ids[-1]) or (self._constraint and self._constraint.is_complete):
            return STOP
        if self._tokens_left == 0:
            return LENGTH
        written = len(self.ids) - self._prompt_tokens
        if self._stop_repetition and written % CHECK_EVERY == 0:
            return REPETITION if repeats_endlessly(self._searchable[self._prompt_tokens :]) else ""
        return ""

    def _count_acceptance(self, first: bool, all_: bool) -> None:
        """Note how a draft fared. first: whether its first token was accepted; all_: whether all of them were."""
        self._acceptance += ACCEPTANCE_WEIGHT * (first - self._acceptance)
        self._accepted_in_a_row = self._accepted_in_a_row + 1 if all_ else 0


# ---- from tokens to text ---------------------------------------------------------------------------------------------


def text_pieces(tokens: Iterable[int], tokenizer, is_cut: Callable[[], bool] = lambda: False) -> Iterator[str]:
    """Text of `tokens`, without control tokens. A character may take several tokens: it waits for the last of them.

    is_cut: asked after the last token; where more might have come, an incomplete character is left out.
    """
    pending: list[int] = []
    for token in tokens:
        pending.append(token)
        text = tokenizer.decode(pending, skip_special_tokens=True)
        if text and not text.endswith(INCOMPLETE):
            yield text
            pending = []
    text = tokenizer.decode(pending, skip_special_tokens=True)
    if text and not is_cut():
        yield text


def until_stop(stop_strings: tuple[str, ...], pieces: Iterable[str]) -> Generator[str, None, bool]:
    """`pieces` up to the first of `stop_strings`, which may begin in one piece and end in another. Returns whether one
    came.
    """
    buffer = ""
    found: list[int] = []
    for piece in pieces:
        buffer += piece
        found = [at for stop in stop_strings if (at := buffer.find(stop)) >= 0]
        if found:
            buffer = buffer[: min(found)]
            break
        may_go_on = max((_begun_at_end(buffer, stop) for stop in stop_strings), default=0)
        if len(buffer) > may_go_on:
            yield buffer[: len(buffer) - may_go_on]
            buffer = buffer[len(buffer) - may_go_on :]
    if buffer:
        yield buffer
    return bool(found)


def _begun_at_end(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-length:]):
            return length
    return 0
