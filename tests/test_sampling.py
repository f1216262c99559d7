"""Sampling parameters: what each does to the logits, which values are refused, and what an endless answer is."""

import numpy as np
import pytest
import torch
from transformers import TopKLogitsWarper, TopPLogitsWarper

from session.decode import repeats_endlessly
from session.prompt import SessionError
from session.sampling import Sampler, SamplingParams, TopPOfFew

PROMPT = [7, 7, 7]


def scores(params: dict, answer: list[int], logits: list[float]) -> list[float]:
    """`logits` of five tokens as the processors leave them after `answer`."""
    sampler = Sampler(SamplingParams(**params), len(PROMPT))
    return sampler._processors(torch.tensor([PROMPT + answer]), torch.tensor([logits])).tolist()[0]


def test_frequency_and_presence_count_the_answers_tokens_only():
    logits = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    penalties = {"frequency_penalty": 0.5, "presence_penalty": 0.25}
    assert scores(penalties, [1, 1, 2], logits) == [1, -0.25, 0.25, 1, 1, 1, 1, 1]
    assert scores({"frequency_penalty": -0.5}, [1, 1], logits)[1] == 2


def test_an_answer_does_not_end_before_min_new_tokens():
    logits = np.array([3, 2, 1], dtype=np.float32)
    sampler = Sampler(SamplingParams(min_new_tokens=2, eos_token_id=[0, 1]), len(PROMPT))
    assert [sampler.sample(PROMPT + [2] * written, logits.copy()) for written in range(4)] == [2, 2, 0, 0]


def test_min_p_leaves_what_is_not_much_less_likely_than_the_best():
    logits = np.log([0.5, 0.3, 0.15, 0.05]).tolist()
    left = scores({"do_sample": True, "min_p": 0.4, "top_k": None}, [], logits)
    assert [np.isfinite(score) for score in left] == [True, True, False, False]


@pytest.mark.parametrize("top_p", [0, 0.3, 0.8, 0.999])
def test_top_p_of_what_top_k_left_is_top_p(top_p):
    rng = np.random.default_rng(1)
    for _ in range(50):
        logits = TopKLogitsWarper(20)(None, torch.from_numpy(rng.normal(size=(1, 5000)).astype(np.float32)) * 3)
        assert torch.equal(TopPOfFew(top_p)(None, logits), TopPLogitsWarper(top_p)(None, logits))


@pytest.mark.parametrize("options", [
    {"temperature": 1e-40}, {"temperature": 0}, {"temperature": 1e-7}, {"top_p": 0}, {"min_p": 1},
    {"top_k": 1}, {"top_k": 1, "temperature": 0.01, "top_p": 0.001},
])  # fmt: skip
def test_these_take_the_most_likely_token(options):
    rng = np.random.default_rng(0)
    for _ in range(50):
        logits = rng.normal(size=100).astype(np.float32)
        sampler = Sampler(SamplingParams(do_sample=True, **options), 0)
        assert sampler.sample([0], logits.copy()) == logits.argmax()


@pytest.mark.parametrize("top_k", [0, -1, None])
def test_top_k_below_one_is_none(top_k):
    assert scores({"do_sample": True, "top_k": top_k}, [], [1.0, 2.0]) == [1, 2]


@pytest.mark.parametrize("seed", [-1, 0, 2**63, 2**80])
def test_any_integer_is_a_seed(seed):
    logits = np.zeros(1000, dtype=np.float32)
    params = SamplingParams(do_sample=True, seed=seed, top_k=None)
    assert Sampler(params, 0).sample([0], logits) == Sampler(params, 0).sample([0], logits)


@pytest.mark.parametrize(("name", "value"), [
    ("temperature", -0.1), ("temperature", float("nan")), ("top_p", 1.1), ("min_p", -1), ("repetition_penalty", 0),
    ("frequency_penalty", 2.1), ("presence_penalty", -3), ("max_new_tokens", 0), ("min_new_tokens", -1),
])  # fmt: skip
def test_values_that_make_no_sense_are_refused_by_name(name, value):
    with pytest.raises(SessionError, match=f"{name} is {value}; it must be from"):
        SamplingParams.from_defaults(None, {name: value})


# ---- endless repetition: a character stands for a token -------------------------------------------------------------

ENDLESS = {
    "one word": "no " * 200, "a sentence": "There is a red circle in the picture. " * 9,
    "a paragraph": "".join(f"{n} is not {n + 1}. " for n in range(20)) * 6,
    "after a good beginning": "abc" + "de" * 160,
}  # fmt: skip
ORDINARY = {
    "a long list": "".join(f"{n}. a red circle on the left\n" for n in range(1, 200)),
    "a table": "| name | colour | count |\n| --- | --- | --- |\n" + "".join(
        f"| thing {n} | red | {n % 3} |\n" for n in range(80)),
    "a wide rule": "| a |" + "---|" * 40, "dashes": "Title\n" + "-" * 200 + "\ntext",
    "a matrix of zeros": "[" + "[0, 0, 0, 0, 0, 0, 0, 0],\n" * 10 + "]",
    "an empty form": "<tr><td></td><td></td><td></td></tr>\n" * 7,
    "code": "".join(f"    self.value_{n} = value_{n}\n    self.name_{n} = None\n" for n in range(40)),
    "a poem with a refrain": ("Row, row, row your boat,\ngently down the stream.\n" * 3 + "Merrily, merrily\n") * 3,
    "boxes": "".join(f'{{"bbox_2d": [{n}, {n * 7 % 90}, 10, 20], "label": "car"}},\n' for n in range(60)),
}  # fmt: skip


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS)
def test_an_endless_answer_is_noticed(text):
    assert any(repeats_endlessly(text[:end]) for end in range(0, len(text) + 1, 16))


@pytest.mark.parametrize("text", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_repetition_is_not(text):
    assert not any(repeats_endlessly(text[:end]) for end in range(len(text) + 1))
