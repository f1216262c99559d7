"""Decode: from logits to tokens, several in one step where they can be drafted, and from tokens to pieces of text.

Here: sampling parameters, sampling with Transformers' own processors in `generate`'s order, draft tokens, detokenizing,
stop strings. Not here: where logits come from (`caches.KVCache.forward`), beams, several answers at once.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from transformers import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

INCOMPLETE = "\N{REPLACEMENT CHARACTER}"  # what a tokenizer makes of the first bytes of a character
MAX_NGRAM = 3  # latest tokens that are looked up; where these never stood before, fewer
MIN_ACCEPTANCE = 0.12  # of drafts, for one upon a match of a single token: what a step with a draft token costs more
FIRST_ACCEPTANCE = 0.1  # taken for the share of drafts that are accepted, as long as nothing is known
ACCEPTANCE_WEIGHT = 0.1  # of the latest draft in that share


@dataclass(frozen=True)
class SamplingParams:
    """How to generate an answer, by `generate`'s names; other settings of a generation_config are not heeded.

    seed: of this answer alone; without it, sampling draws from torch's global generator, as `generate` does.
    stop: a string, or several, that end the answer and are not part of it.
    eos_token_id: one token, or several, that end it.
    """

    max_new_tokens: int = 256
    min_new_tokens: int | None = None
    do_sample: bool = False
    temperature: float | None = None
    top_k: int | None = 50  # what `generate` takes where neither caller nor model say
    top_p: float | None = None
    repetition_penalty: float | None = None
    eos_token_id: int | list[int] | None = None
    seed: int | None = None
    stop: str | tuple[str, ...] = ()

    @classmethod
    def from_defaults(cls, defaults, given: dict) -> "SamplingParams":
        """`given` overrides `defaults`, a GenerationConfig; max_new_tokens is never taken from `defaults`.

        Raises TypeError for a name that is not in the list above, ValueError for an empty stop string and for less than
        one new token.
        """
        names = [field.name for field in fields(cls)]
        if unknown := sorted(given.keys() - set(names)):
            raise TypeError(f"Unknown option {', '.join(unknown)}; there are {', '.join(names)}.")
        if "" in cls(stop=given.get("stop", ())).stop_strings:
            raise ValueError("An empty stop string would end every answer before it begins.")
        max_new_tokens = given.get("max_new_tokens", cls.max_new_tokens)
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {max_new_tokens}; an answer has at least one token.")
        from_model = {name: getattr(defaults, name, None) for name in names}
        from_model = {name: value for name, value in from_model.items() if value is not None}
        return cls(**(from_model | given | {"max_new_tokens": max_new_tokens}))

    @property
    def stop_strings(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def end_token_ids(self) -> list[int]:
        if self.eos_token_id is None:
            return []
        return [self.eos_token_id] if isinstance(self.eos_token_id, int) else list(self.eos_token_id)


class Sampler:
    """Takes the next token: the most likely one, or one drawn from what the parameters leave of the distribution."""

    def __init__(self, params: SamplingParams, prompt_tokens: int):
        self._do_sample = params.do_sample
        self._generator = None if params.seed is None else torch.Generator().manual_seed(params.seed)
        self._processors = LogitsProcessorList(_processors(params, prompt_tokens))

    def sample(self, ids: list[int], logits: np.ndarray) -> int:
        """ids: all tokens so far, the prompt's too. logits: (vocabulary,)."""
        if not self._do_sample and not self._processors:
            return int(logits.argmax())  # without tensors: a tenth of the time
        scores = torch.from_numpy(logits).float()[None]
        if self._processors:
            scores = self._processors(torch.tensor([ids]), scores)
        if not self._do_sample:
            return int(scores.argmax())
        return int(torch.multinomial(scores.softmax(dim=-1), 1, generator=self._generator))


def _processors(params: SamplingParams, prompt_tokens: int) -> Iterator:
    """In the order in which `generate` applies them."""
    if params.repetition_penalty not in (None, 1.0):
        yield RepetitionPenaltyLogitsProcessor(params.repetition_penalty)
    if params.min_new_tokens and params.end_token_ids:
        yield MinNewTokensLengthLogitsProcessor(prompt_tokens, params.min_new_tokens, params.end_token_ids)
    if not params.do_sample:
        return
    if params.temperature not in (None, 1.0):
        yield TemperatureLogitsWarper(params.temperature)
    if params.top_k:
        yield TopKLogitsWarper(params.top_k)
    if params.top_p is not None and params.top_p < 1.0:
        yield TopPLogitsWarper(params.top_p)


class DraftDecoder:
    """An answer's tokens, with prompt lookup decoding (https://github.com/apoorvumang/prompt-lookup-decoding).

    What followed the last time that the latest tokens stood in the conversation is drafted, and goes through the model
    along with the latest token. A draft token is accepted if it is the one that would have been sampled without it, so
    drafts change how soon an answer is there and nothing else.

    ids: all tokens so far, the prompt's too. max_draft_tokens: in one step. For a 2B model a step with one draft token
    takes 1.03 to 1.12 times as long as one without, with three 1.4 to 1.6 times (`python -m benchmarks drafts`). So a
    draft needs the latest two tokens to have stood before, or only the latest one while enough drafts are accepted; and
    it has one token, or more after two drafts in a row that were accepted as a whole.
    """

    def __init__(self, params: SamplingParams, prompt_ids: list[int], max_draft_tokens: int):
        self.ids = list(prompt_ids)
        self._end_token_ids = params.end_token_ids
        self._max_draft_tokens = max_draft_tokens
        self._acceptance = FIRST_ACCEPTANCE  # share of drafts whose first token is accepted; the latest weigh most
        self._accepted_in_a_row = 0  # drafts, each as a whole
        self._sampler = Sampler(params, len(prompt_ids))
        self._tokens_left = params.max_new_tokens
        self._searchable = "".join(map(chr, self.ids))  # a character for each token: searched at the speed of C

    @property
    def done(self) -> bool:
        return self._tokens_left == 0 or self.ended

    @property
    def ended(self) -> bool:
        """The model ended the answer itself."""
        return self.ids[-1] in self._end_token_ids

    def draft(self) -> list[int]:
        """The tokens that may come next; at most one less than may still be generated."""
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
            token = self._sampler.sample(self.ids, row)
            new.append(token)
            self.ids.append(token)
            self._searchable += chr(token)
            self._tokens_left -= 1
            if self.done or token != drafted:
                break
        if draft:
            self._count_acceptance(first=new[0] == draft[0], all_=len(new) > len(draft))
        return new

    def _count_acceptance(self, first: bool, all_: bool) -> None:
        """Of a draft: its first token is accepted; all of its tokens are."""
        self._acceptance += ACCEPTANCE_WEIGHT * (first - self._acceptance)
        self._accepted_in_a_row = self._accepted_in_a_row + 1 if all_ else 0


# ---- from tokens to text ---------------------------------------------------------------------------------------------


def text_pieces(tokens: Iterable[int], tokenizer) -> Iterator[str]:
    """Text of `tokens`, without control tokens. A character may take several tokens: it waits for the last of them."""
    pending: list[int] = []
    for token in tokens:
        pending.append(token)
        text = tokenizer.decode(pending, skip_special_tokens=True)
        if text and not text.endswith(INCOMPLETE):
            yield text
            pending = []
    if text := tokenizer.decode(pending, skip_special_tokens=True):
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
