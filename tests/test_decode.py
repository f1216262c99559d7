"""Tokens that are guessed: what is looked up, what stands, and when fewer are tried."""

import numpy as np
import pytest

from session.decode import DraftDecoder, SamplingParams

VOCABULARY = 50


def rows(*tokens: int) -> np.ndarray:
    """Logits after which the likeliest tokens are these."""
    return np.eye(VOCABULARY, dtype=np.float32)[list(tokens)]


def writing(prompt: list[int], *, max_draft_tokens: int = 3, **options) -> DraftDecoder:
    return DraftDecoder(SamplingParams(**options), prompt, max_draft_tokens)


def test_guesses_what_followed_the_last_time():
    begun = writing([7, 8, 1, 2, 9, 1, 2, 30, 31, 1])
    assert begun.accept(rows(2), []) == [2]
    assert begun.draft() == [30]


def test_never_guesses_after_one_token_alone_until_a_guess_stood():
    begun = writing([1, 2, 3, 4, 1])
    assert begun.draft() == []
    begun = writing([5, 1, 2, 3, 3, 5, 1])
    assert begun.accept(rows(2, 3), begun.draft()) == [2, 3]
    assert begun.accept(rows(5), []) == [5]
    assert begun.draft() == [1, 2]  # after one 5, and two tokens now


def test_dares_more_after_guesses_that_stood_and_less_after_one_that_fell():
    begun = writing([*range(1, 20), 1, 2])
    sizes = []
    for _ in range(4):
        draft = begun.draft()
        sizes.append(len(draft))
        after = begun.ids[-1] + 1
        begun.accept(rows(*range(after, after + len(draft) + 1)), draft)
    assert sizes == [1, 2, 3, 3]
    draft = begun.draft()
    assert begun.accept(rows(40, 41, 42, 43)[: len(draft) + 1], draft) == [40]
    begun.accept(rows(1), [])
    begun.accept(rows(2), [])
    assert begun.draft() == [3]


def test_after_guesses_that_fell_wants_a_longer_match():
    begun = writing([1, 2, 3, 9, 4, 1, 2, 3, 8, 1, 2])
    assert begun.accept(rows(5, 6), begun.draft()) == [5]
    begun.accept(rows(1), [])
    begun.accept(rows(2), [])
    assert begun.draft() == []
    begun.accept(rows(3), [])
    assert begun.draft() == [8]


@pytest.mark.parametrize(("options", "chosen"), [({"max_new_tokens": 2}, [2, 3]), ({"eos_token_id": 3}, [2, 3])])
def test_ends_within_a_guess(options, chosen):
    begun = writing([1, 2, 3, 4, 5, 1], **options)
    assert begun.accept(rows(2, 3, 4), [2, 3]) == chosen
    assert begun.done
    assert begun.ids[-2:] == chosen


def test_reads_nothing_beyond_the_last_token_that_may_be_written():
    begun = writing([1, 2, 3, 4, 1, 2], max_new_tokens=1)
    assert begun.draft() == []


def test_without_guesses_there_are_none():
    assert writing([1, 2, 3, 1, 2], max_draft_tokens=0).draft() == []


def test_a_seed_draws_once_for_every_token():
    flat = np.zeros((1, VOCABULARY), dtype=np.float32)
    options = {"do_sample": True, "seed": 3, "max_new_tokens": 20}
    plain = writing([1], **options)
    expected = [plain.accept(flat, [])[0] for _ in range(12)]
    for wrong in (0, 1):
        begun, new = writing([1], **options), []
        while len(new) < 12:
            draft = [token + wrong for token in expected[len(new) :][:2]]
            new += begun.accept(np.repeat(flat, len(draft) + 1, axis=0), draft)
        assert new[:12] == expected
