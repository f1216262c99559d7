"""How prompts are cut into chunks, and when a cached prefix is worth using."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.chunks import FIRST_CHUNK_TOKENS, LATER_CHUNK_TOKENS, chunk_end, cost, is_worth_using


def test_the_first_chunk_is_large_and_later_ones_are_small():
    assert chunk_end(0, 100) == 100
    assert chunk_end(0, 10_000) == FIRST_CHUNK_TOKENS
    assert chunk_end(FIRST_CHUNK_TOKENS, 10_000) == FIRST_CHUNK_TOKENS + LATER_CHUNK_TOKENS
    assert chunk_end(9_900, 10_000) == 10_000


@given(cuts=st.tuples(*[st.integers(1, 20_000)] * 3))
def test_what_is_prefilled_in_two_parts_costs_no_less_than_at_once(cuts):
    start, middle, stop = sorted(cuts)
    assert cost(0, stop) <= cost(0, middle) + cost(middle, stop) + 1e-6
    assert cost(start, stop) == pytest.approx(cost(start, middle) + cost(middle, stop))


@pytest.mark.parametrize(("prefix", "tokens", "worth"), [
    (1340, 1370, True),  # a question behind a picture
    (9000, 9100, True),  # behind a document
    (20, 400, False),  # a picture behind the system prompt
    (500, 1810, False), (1700, 3000, False),  # another picture
    (0, 100, False),
])  # fmt: skip
def test_a_prefix_is_used_where_that_is_cheaper(prefix, tokens, worth):
    assert is_worth_using(prefix, tokens) == worth
