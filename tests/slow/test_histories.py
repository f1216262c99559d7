"""Wilder histories than those of tests/test_session_exact.py, for each family.

Several pictures and videos in one question, answers that are stopped, prompts read in chunks of any size, drafts that
stand and fall, beside what the histories there have. Every answer has to be `generate`'s; ties are counted.
HISTORIES=200 in the environment runs more of them, which is done by hand (docs/decisions.md).
"""

import os
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from session import chunks
from tests import test_session_exact as exact
from tests.test_session_exact import MEDIA, NEW_TOKENS, QUESTIONS, SAMPLED, Pair

HISTORIES = int(os.environ.get("HISTORIES", "20"))
ACTIONS = ["ask", "ask", "ask", "retry", "undo", "edit", "switch", "prepare", "stop"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(ACTIONS), st.sampled_from(QUESTIONS), st.lists(st.sampled_from(MEDIA[2:]), max_size=3),
        st.sampled_from([None, None, 1, 2]),
    ),
    min_size=3, max_size=5,
)  # fmt: skip


@contextmanager
def chunks_of(tokens: int):
    usual = chunks.FIRST_CHUNK_TOKENS, chunks.LATER_CHUNK_TOKENS
    chunks.FIRST_CHUNK_TOKENS = chunks.LATER_CHUNK_TOKENS = tokens
    try:
        yield
    finally:
        chunks.FIRST_CHUNK_TOKENS, chunks.LATER_CHUNK_TOKENS = usual


def play(pair: Pair, steps) -> None:
    conversations, current = [[], []], 0
    for action, text, media, seed in steps:
        history = conversations[current]
        options = {} if seed is None else {**SAMPLED, "seed": seed}
        asked = {"role": "user", "content": [*media, {"type": "text", "text": text}]}
        if action == "switch":
            current = 1 - current
        elif action == "prepare":
            pair.session.prepare([*history, {"role": "user", "content": media or text}])
        elif action == "stop":
            answer = pair.session.stream([*history, asked], max_new_tokens=NEW_TOKENS, **options)
            next(answer, None)
            answer.close()
        else:
            if action in ("retry", "undo", "edit") and history:
                asked = history[-2] if action == "retry" else asked
                del history[-2:]
            if action != "undo":
                messages = [*history, asked]
                history[:] = [*messages, {"role": "assistant", "content": pair.check(messages, **options)}]


@pytest.mark.parametrize("export", ["fp32_dir", "qwen25_dir", "qwen3_dir"])
def test_whatever_people_do_answers_are_those_of_generate(export, request):
    pair = exact.Pair(request.getfixturevalue(export))

    @given(steps=STEPS, tokens=st.sampled_from([5, 64, chunks.FIRST_CHUNK_TOKENS]))
    @settings(max_examples=HISTORIES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    def histories_are_answered_alike(steps, tokens):
        with chunks_of(tokens):
            play(pair, steps)

    histories_are_answered_alike()
    print(f"{export}: {HISTORIES} histories, {pair.answers} answers, {pair.ties} ties; "
          f"{pair.stood} guesses stood, {pair.fell} fell")  # fmt: skip
    assert pair.answers > HISTORIES
    assert pair.ties <= pair.answers // 50
