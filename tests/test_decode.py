"""Draft tokens: what is looked up, what is accepted, and how many are tried."""

import numpy as np
import pytest

from session.decode import DraftDecoder
from session.sampling import SamplingParams

VOCABULARY = 50


def rows(*tokens: int) -> np.ndarray:
    """Logits after which the likeliest tokens are these."""
    return np.eye(VOCABULARY, dtype=np.float32)[list(tokens)]


def writing(prompt: list[int], *, max_draft_tokens: int = 3, **options) -> DraftDecoder:
    return DraftDecoder(SamplingParams(**options), prompt, max_draft_tokens)


def test_drafts_what_followed_the_longest_match_the_last_time():
    begun = writing([7, 8, 1, 2, 9, 1, 2, 30, 31, 1])
    assert begun.accept(rows(2), []) == [2]
    assert begun.draft() == [30]
    begun = writing([4, 1, 2, 9, 3, 1, 2, 8, 4, 1, 2])
    assert begun.draft() == [9], "after 4, 1, 2, though 8 came after the latest 1, 2"


def test_drafts_after_two_tokens_that_stood_before_and_after_one_only_while_drafts_are_accepted():
    begun = writing([1, 2, 3, 4, 5, 6, 9, 4, 1])
    assert begun.draft() == [], "1 stood before, but 4, 1 did not"
    assert begun.accept(rows(2), []) == [2]
    assert begun.draft() == [3]
    assert begun.accept(rows(3, 9), [3]) == [3, 9]
    assert begun.draft() == [4], "after 9 alone, now that a draft was accepted"
    for _ in range(6):
        assert begun.accept(rows(40, 0), [41]) == [40]
    begun.accept(rows(6), [])
    assert begun.draft() == [], "and not after 6, now that many were rejected"


def test_drafts_nothing_after_a_token_that_never_stood_before():
    assert writing([1, 2, 3, 4, 5]).draft() == []


def test_drafts_more_after_two_drafts_that_were_accepted_and_one_after_a_rejected_one():
    begun = writing([*range(1, 20), 1, 2])
    sizes = []
    for _ in range(5):
        draft = begun.draft()
        sizes.append(len(draft))
        after = begun.ids[-1] + 1
        begun.accept(rows(*range(after, after + len(draft) + 1)), draft)
    assert sizes == [1, 1, 2, 3, 3]
    draft = begun.draft()
    assert begun.accept(rows(40, 41, 42, 43)[: len(draft) + 1], draft) == [40]
    begun.accept(rows(1), [])
    begun.accept(rows(2), [])
    assert begun.draft() == [3]


@pytest.mark.parametrize(("options", "why"), [({"max_new_tokens": 2}, "length"), ({"eos_token_id": 3}, "stop")])
def test_ends_within_a_draft(options, why):
    begun = writing([1, 2, 3, 4, 5, 1], **options)
    assert begun.accept(rows(2, 3, 4), [2, 3]) == [2, 3]
    assert begun.finish_reason == why
    assert begun.ids[-2:] == [2, 3]


def test_drafts_nothing_beyond_the_last_token_that_may_be_generated():
    begun = writing([1, 2, 3, 4, 1, 2], max_new_tokens=1)
    assert begun.draft() == []


def test_without_drafts_there_are_none():
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


def test_an_endless_answer_ends_where_the_caller_wants_that():
    for wanted, why in ((True, "repetition"), (False, "length")):
        begun = writing([1, 2, 3], max_new_tokens=1000, stop_repetition=wanted)
        written = 0
        while not begun.finish_reason:
            draft = begun.draft()
            after = len(begun.ids)
            new = begun.accept(rows(*(10 + (after + n) % 7 for n in range(len(draft) + 1))), draft)
            written += len(new)
        assert begun.finish_reason == why
        assert written < 400 if wanted else written == 1000
