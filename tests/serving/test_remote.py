"""The stand-in says what a ChatSession in this process says, and behaves like one."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from gradio_client import Client, handle_file

from chat_session import MediaError, SessionError
from gradio_helper import make_demo
from serving import remote as module
from serving.errors import BEGUN
from serving.remote import conversation_of, pack
from serving.replica import Replica
from session.answer import Answer, AnswerState
from session.prefill import ENCODING, PREFILLING
from tests.serving.conftest import asked, drawing, idle, wait_until

LONG = {"min_new_tokens": 1500, "max_new_tokens": 1600}


def test_the_answer_and_its_counts_are_those_of_a_session_in_this_process(remote, direct):
    question = asked(image=drawing("teal"))  # a picture that no other test shows: neither has seen it
    here, there = direct.stream(question), remote.stream(question)
    assert "".join(there) == "".join(here) != ""
    counts = ("prompt_tokens", "visual_tokens", "encoded_tokens", "answer_tokens", "finished")
    assert [getattr(there.stats, name) for name in counts] == [getattr(here.stats, name) for name in counts]
    assert 0 < there.stats.first_token_s <= there.stats.total_s


def test_text_comes_in_pieces_and_progress_before_it(remote):
    told = []
    pieces = list(remote.stream(asked(image=drawing("pink")), progress=told.append))
    assert len(pieces) > 3
    assert {step.stage for step in told} == {ENCODING, PREFILLING}


def test_a_second_turn_finds_what_the_first_one_left(remote):
    first = asked(image=drawing("green"))
    text = "".join(remote.stream(first))
    answer = remote.stream([*first, {"role": "assistant", "content": text}, *asked("How many shapes are there?")])
    list(answer)
    assert answer.stats.encoded_tokens == 0
    assert answer.stats.cached_tokens > answer.stats.prompt_tokens / 2


def test_what_is_prepared_is_not_encoded_again(remote):
    remote.prepare(asked("", drawing("orange")))
    answer = remote.stream(asked(image=drawing("orange")))
    list(answer)
    assert answer.stats.visual_tokens and not answer.stats.encoded_tokens


def test_preparing_ends_when_it_is_not_wanted_any_more(remote):
    """It waits for an answer that takes longer than this test may."""
    busy = remote.stream(asked("Tell me a story.", drawing("purple")), **LONG)
    next(busy)
    looks = iter([True, True, False])
    remote.prepare(asked("", drawing("purple")), wanted=lambda: next(looks))
    assert next(looks, "all were taken") == "all were taken"
    busy.close()


def test_preparing_what_is_no_picture_is_not_its_problem(remote):
    remote.prepare(asked("", b"not a picture"))


def test_stop_ends_the_answer_here_and_there(remote, handle):
    answer = remote.stream(asked(), **LONG)
    next(answer)
    answer.stop()
    assert len(list(answer)) < 100
    assert not answer.stats.finished
    wait_until(lambda: idle(handle))


def test_an_answer_that_was_stopped_before_it_began_is_not_sent(remote, monkeypatch):
    monkeypatch.setattr(remote, "_replica_of", lambda *_, **__: pytest.fail("asked a replica"))
    answer = remote.stream(asked())
    answer.stop()
    assert list(answer) == []


def test_pieces_that_came_together_with_an_error_are_given_before_it():
    """As where a replica writes several pieces in one breath, and then fails."""

    class Failing:
        def stream(self, messages, *, progress, **options):
            state = AnswerState()
            return Answer(state, self._texts())

        def _texts(self):
            yield "one "
            yield "two "
            raise MediaError("and then it failed")

    replica = object.__new__(Replica)
    replica.session, replica._threads = Failing(), ThreadPoolExecutor(1)
    replica._counting, replica._under_way, replica._last_event = threading.Lock(), 0, 0.0
    said = []

    async def listen():
        async for together in replica.answer([], {}):
            said.extend(together)

    with pytest.raises(MediaError, match="and then it failed"):
        asyncio.run(listen())
    assert said == [BEGUN, "one ", "two "]


def test_an_answer_that_nobody_holds_any_more_ends_there(remote, handle):
    answer = remote.stream(asked(), **LONG)
    next(answer)
    del answer
    wait_until(lambda: idle(handle))


def test_close_returns_when_nothing_runs_any_more(remote, handle):
    answer = remote.stream(asked(), **LONG)
    thread = threading.Thread(target=list, args=(answer,))
    thread.start()
    wait_until(lambda: not idle(handle))
    answer.close()
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "messages, options, error",
    [
        ([], {}, SessionError),
        (asked("  "), {}, SessionError),
        (asked("x" * 600_000), {}, SessionError),
        (asked(image=b"not a picture"), {}, MediaError),
        (asked(), {"beams": 3}, TypeError),
        (asked(), {"stop": ""}, SessionError),
    ],
)
def test_what_a_session_raises_is_raised_here(remote, messages, options, error):
    with pytest.raises(error) as caught:
        list(remote.stream(messages, **options))
    assert type(caught.value) is error
    assert "Traceback" not in str(caught.value)


def test_estimates_and_budgets_are_those_of_a_session(remote, direct):
    question = asked(image=drawing())
    mine, theirs = remote.estimate(question), direct.estimate(question)
    assert (mine.prompt_tokens, mine.visual_tokens) == (theirs.prompt_tokens, theirs.visual_tokens)
    assert remote.visual_token_budget == direct.visual_token_budget


def test_drawn_answers_repeat_with_a_seed(remote):
    options = {"do_sample": True, "temperature": 3.0, "max_new_tokens": 20}
    said = ["".join(remote.stream(asked(image=drawing()), seed=seed, **options)) for seed in (1, 1, 2, 3, 4)]
    assert said[0] == said[1]
    assert len(set(said)) > 1


def test_the_page_does_not_know_the_difference(remote, direct, tmp_path):
    (tmp_path / "drawing.png").write_bytes(drawing())
    page = make_demo(None, remote.processor, session=remote)
    page.launch(prevent_thread_lock=True, quiet=True)
    try:
        client = Client(page.local_url, verbose=False)
        message = {"text": "Describe this image.", "files": [handle_file(str(tmp_path / "drawing.png"))]}
        job = client.submit(message=message, api_name="/chat")
        assert job.result(timeout=60) == "".join(direct.stream(asked(image=drawing()))).strip()
    finally:
        page.close()


# ---- what crosses ---------------------------------------------------------------------------------------------------

def test_a_file_crosses_as_its_bytes_and_never_its_path(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(drawing())
    packed = pack(asked(image=str(path)))
    assert packed == pack(asked(image=path)) == asked(image=drawing())
    path.unlink()
    with pytest.raises(MediaError, match="no longer there") as caught:
        pack(asked(image=str(path)))
    assert "secret" not in str(caught.value)


def test_more_than_may_cross_is_refused(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with pytest.raises(SessionError, match="together"):
        pack([*asked(image=b"x" * 60), *asked(image=b"y" * 60)])


def test_files_that_are_too_large_together_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("serving.remote.MAX_BYTES", 100)
    monkeypatch.setattr("pathlib.Path.read_bytes", pytest.fail)
    (tmp_path / "a").write_bytes(b"x" * 60)
    with pytest.raises(SessionError, match="MB together"):
        pack(asked(image=str(tmp_path / "a")) * 2)


def test_a_conversation_is_the_same_one_on_every_turn():
    first = asked("What is it?", drawing())
    later = [*first, {"role": "assistant", "content": "A circle."}, *asked("Sure?")]
    while_typing, with_system = asked("", drawing()), [{"role": "system", "content": "Be brief."}, *first]
    assert len({conversation_of(pack(messages)) for messages in (first, later, while_typing, with_system)}) == 1


def test_other_questions_are_other_conversations():
    others = [asked(image=drawing("red")), asked(image=drawing("blue")), asked("Hello"), asked("Good morning")]
    assert len({conversation_of(pack(messages)) for messages in others}) == 4
