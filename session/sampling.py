"""From the logits of one position to a token: sampling parameters, and sampling with Transformers' own processors.

In the order in which `generate` applies them. Not here: several tokens in one step (`session.decode`), JSON
(`session.structured`), beams.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from session.prompt import SessionError

MIN_TEMPERATURE = 1e-5  # below it the most likely token is taken, as in vLLM: the division would overflow
# The values that make sense, as (smallest, largest); those of the penalties are OpenAI's and vLLM's.
RANGES = {
    "temperature": (0, math.inf),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "repetition_penalty": (1e-3, 1e3),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "max_new_tokens": (1, math.inf),
    "min_new_tokens": (0, math.inf),
}


@dataclass(frozen=True)
class SamplingParams:
    """How to generate an answer, by `generate`'s names; other settings of a generation_config are ignored.

    max_new_tokens: None for as many as the model's context has room for; more than that are cut to it.
    top_k: None, or less than one, switches it off. top_p 0 leaves the most likely token.
    frequency_penalty, presence_penalty: taken off the logit of each token of this answer, times how often it came and
    once, as in OpenAI's API and vLLM.
    seed: of this answer alone; without it, sampling draws from torch's global generator, as `generate` does.
    stop: a string, or several, that end the answer and are not part of it.
    stop_repetition: end an answer that repeats itself endlessly (see `decode.repeats_endlessly`).
    eos_token_id: one token, or several, that end it.
    """

    max_new_tokens: int | None = 256
    min_new_tokens: int | None = None
    do_sample: bool = False
    temperature: float | None = None
    top_k: int | None = 50  # what `generate` takes where neither caller nor model say
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    eos_token_id: int | list[int] | None = None
    seed: int | None = None
    stop: str | tuple[str, ...] = ()
    stop_repetition: bool = False

    @classmethod
    def from_defaults(cls, defaults, given: dict) -> "SamplingParams":
        """`given` overrides `defaults`, a GenerationConfig; max_new_tokens is never taken from `defaults`.

        Raises TypeError for a name that is not in the list above, SessionError for an empty stop string and for values
        out of RANGES.
        """
        names = [field.name for field in fields(cls)]
        if unknown := sorted(given.keys() - set(names)):
            raise TypeError(f"Unknown option {', '.join(unknown)}; there are {', '.join(names)}.")
        if "" in cls(stop=given.get("stop", ())).stop_strings:
            raise SessionError("An empty stop string would end every answer before it begins.")
        for name, (smallest, largest) in RANGES.items():
            value = given.get(name)
            if value is not None and not smallest <= value <= largest:
                raise SessionError(f"{name} is {value}; it must be from {smallest} to {largest}.")
        from_model = {name: getattr(defaults, name, None) for name in names if name != "max_new_tokens"}
        from_model = {name: value for name, value in from_model.items() if value is not None}
        return cls(**(from_model | given))

    def within(self, room: int) -> "SamplingParams":
        """With at most `room` new tokens, because the model's context has no more."""
        return replace(self, max_new_tokens=min(room, self.max_new_tokens or room))

    @property
    def stop_strings(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def end_token_ids(self) -> list[int]:
        if self.eos_token_id is None:
            return []
        return [self.eos_token_id] if isinstance(self.eos_token_id, int) else list(self.eos_token_id)

    @property
    def draws(self) -> bool:
        """Whether chance takes part. With a top_k of 1, which the hub's Qwen2-VL models ask for, it does not."""
        return self.do_sample and self.top_k != 1 and (self.temperature is None or self.temperature >= MIN_TEMPERATURE)


class Sampler:
    """Takes the next token: the most likely one, or one drawn from what the parameters leave of the distribution."""

    def __init__(self, params: SamplingParams, prompt_tokens: int):
        self._draws = params.draws
        self._generator = None if params.seed is None else torch.Generator().manual_seed(params.seed % 2**64)
        self._processors = LogitsProcessorList(_processors(params, prompt_tokens))
        self._end_token_ids = params.end_token_ids
        self._earliest_end = prompt_tokens + (params.min_new_tokens or 0)

    def sample(
        self, ids: list[int], logits: np.ndarray, forbid: Callable[[np.ndarray], None] = lambda scores: None
    ) -> int:
        """The id of the next token.

        ids: all tokens so far, the prompt's too. logits: (vocabulary,), may be changed. forbid: sets the scores of
        tokens that must not come to -inf.
        """
        if len(ids) < self._earliest_end:
            logits[self._end_token_ids] = -np.inf
        if not self._draws and not self._processors:
            forbid(logits)
            return int(logits.argmax())  # without tensors: a tenth of the time
        scores = torch.from_numpy(logits).float()[None]
        forbid(scores[0].numpy())
        if self._processors:
            scores = self._processors(torch.tensor([ids]), scores)
        if not self._draws:
            return int(scores.argmax())
        return int(torch.multinomial(scores.softmax(dim=-1), 1, generator=self._generator))


class CountPenalty(LogitsProcessor):
    """Makes tokens of the answer less likely: by `frequency` for each time that one came, by `presence` once."""

    def __init__(self, frequency: float, presence: float, prompt_tokens: int):
        self._frequency = frequency
        self._presence = presence
        self._prompt_tokens = prompt_tokens

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        counts = torch.bincount(input_ids[0, self._prompt_tokens :], minlength=scores.shape[1])
        return scores - self._frequency * counts - self._presence * (counts > 0)


class TopPOfFew(TopPLogitsWarper):
    """The same, but only what top-k left is sorted: a vocabulary of 152 000 tokens takes 3 ms, as long as sampling."""

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        left = scores[0].isfinite().nonzero()[:, 0]
        few = super().__call__(input_ids, scores[:, left])
        return torch.full_like(scores, self.filter_value).index_copy_(1, left, few)


def _processors(params: SamplingParams, prompt_tokens: int) -> Iterator[LogitsProcessor]:
    if params.repetition_penalty not in (None, 1.0):
        yield RepetitionPenaltyLogitsProcessor(params.repetition_penalty)
    if params.frequency_penalty or params.presence_penalty:
        yield CountPenalty(params.frequency_penalty or 0.0, params.presence_penalty or 0.0, prompt_tokens)
    if not params.draws:
        return
    if params.temperature not in (None, 1.0):
        yield TemperatureLogitsWarper(params.temperature)
    few = bool(params.top_k and params.top_k > 0)
    if few:
        yield TopKLogitsWarper(params.top_k)
    if params.top_p is not None and params.top_p < 1.0:
        yield TopPOfFew(params.top_p) if few else TopPLogitsWarper(params.top_p)
    if params.min_p:
        yield MinPLogitsWarper(params.min_p)
