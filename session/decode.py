"""From logits to tokens, and from tokens to pieces of text.

Here: the options of an answer, choosing with Transformers' own processors in `generate`'s order, detokenizing, stop
strings. Not here: where logits come from (`model`), beams, several answers at once.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, fields

import torch
from transformers import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # what a decoder makes of the first bytes of a character


@dataclass(frozen=True)
class Options:
    """How to write an answer, by `generate`'s names; other settings of a generation_config are not heeded.

    seed: of this answer alone; without it, sampling draws from torch's global generator, as `generate` does. stop:
    a string, or several, that end the answer and are not part of it. eos_token_id: one or several tokens that end it.
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
    def merged(cls, defaults, given: dict) -> "Options":
        """What is not given is what `defaults`, a GenerationConfig, says; but max_new_tokens is always ours.

        Raises TypeError for an option that is not in the list above, ValueError for an empty stop string and for less
        than one new token.
        """
        names = [field.name for field in fields(cls)]
        if unknown := sorted(given.keys() - set(names)):
            raise TypeError(f"Unknown option {', '.join(unknown)}; there are {', '.join(names)}.")
        if "" in Options(stop=given.get("stop", ())).stops:
            raise ValueError("An empty stop string would end every answer before it begins.")
        if given.get("max_new_tokens", 1) < 1:
            raise ValueError(f"max_new_tokens is {given['max_new_tokens']}; an answer has at least one token.")
        known = {n: getattr(defaults, n) for n in names if getattr(defaults, n, None) is not None}
        return cls(**(known | given | {"max_new_tokens": given.get("max_new_tokens", cls.max_new_tokens)}))

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def ends(self) -> list[int]:
        ends = self.eos_token_id
        return [] if ends is None else [ends] if isinstance(ends, int) else list(ends)


class Chooser:
    """Chooses the next token: the most likely one, or one drawn from what the options leave of the distribution."""

    def __init__(self, options: Options, prompt_tokens: int):
        self._sample = options.do_sample
        self._random = None if options.seed is None else torch.Generator().manual_seed(options.seed)
        self._processors = LogitsProcessorList(_processors(options, prompt_tokens))

    def choose(self, ids: list[int], logits) -> int:
        """ids: all tokens so far, the prompt's too; logits: a NumPy array (vocabulary,)."""
        scores = torch.from_numpy(logits).float()[None]
        if self._processors:
            scores = self._processors(torch.tensor([ids]), scores)
        if not self._sample:
            return int(scores.argmax())
        return int(torch.multinomial(scores.softmax(dim=-1), 1, generator=self._random))


def _processors(options: Options, prompt_tokens: int) -> Iterator:
    """In the order in which `generate` applies them."""
    if options.repetition_penalty not in (None, 1.0):
        yield RepetitionPenaltyLogitsProcessor(options.repetition_penalty)
    if options.min_new_tokens and options.ends:
        yield MinNewTokensLengthLogitsProcessor(prompt_tokens, options.min_new_tokens, options.ends)
    if not options.do_sample:
        return
    if options.temperature not in (None, 1.0):
        yield TemperatureLogitsWarper(options.temperature)
    if options.top_k:
        yield TopKLogitsWarper(options.top_k)
    if options.top_p is not None and options.top_p < 1.0:
        yield TopPLogitsWarper(options.top_p)


def pieces(tokens: Iterable[int], tokenizer) -> Iterator[str]:
    """Text of `tokens`, without control tokens. A character may take several tokens: it waits for the last of them."""
    pending = []
    for token in tokens:
        pending.append(token)
        text = tokenizer.decode(pending, skip_special_tokens=True)
        if text and not text.endswith(UNFINISHED):
            yield text
            pending = []
    if text := tokenizer.decode(pending, skip_special_tokens=True):
        yield text


def until(stops: tuple[str, ...], texts: Iterable[str]) -> Generator[str, None, bool]:
    """`texts` up to the first of `stops`, which may begin in one piece and end in another. Returns whether one came."""
    held, found = "", []
    for text in texts:
        held += text
        found = [at for stop in stops if (at := held.find(stop)) >= 0]
        if found:
            held = held[: min(found)]
            break
        keep = max((_begun(held, stop) for stop in stops), default=0)
        if len(held) > keep:
            yield held[: len(held) - keep]
            held = held[len(held) - keep :]
    if held:
        yield held
    return bool(found)


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)
