"""The stand-in says what a ChatSession in this process says, and behaves like one."""

import threading
import time

import pytest
from gradio_client import Client, handle_file
from PIL import Image, ImageDraw

from chat_session import MediaError, SessionError
from gradio_helper import make_demo
from serving.remote import RemoteSession
from serving.wire import BusyError
from tests.serving.conftest import deploy


def drawing(colour="red") -> Image.Image:
    image = Image.new("RGB", (168, 168), "white")
    ImageDraw.Draw(image).ellipse((40, 40, 120, 120), fill=colour)
    return image


def asked(text="Describe this image.", image=None):
    media = [{"type": "image", "image": image}] if image else []
    return [{"role": "user", "content": [*media, {"type": "text", "text": text}]}]


LONG = {"min_new_tokens": 1500, "max_new_tokens": 1600}


def wait_until(true, seconds=10):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    assert true()


def idle(handle) -> bool:
    return sum(handle.broadcast("under_way").results(timeout_s=10)) == 0


def test_the_answer_and_its_counts_are_those_of_a_session_in_this_process(remote, direct):
    question = asked(image=drawing())
    here, there = direct.stream(question), remote.stream(question)
    assert "".join(there) == "".join(here) != ""
    counts = ("prompt_tokens", "visual_tokens", "seen_tokens", "answer_tokens")
    assert [getattr(there.stats, name) for name in counts] == [getattr(here.stats, name) for name in counts]
    assert 0 < there.stats.first_token_s <= there.stats.total_s


def test_text_comes_in_pieces_and_progress_before_it(remote):
    told = []
    pieces = list(remote.stream(asked(image=drawing("blue")), progress=told.append))
    assert len(pieces) > 3
    assert {step.doing for step in told} == {"looking", "reading"}


def test_a_second_turn_finds_what_the_first_one_left(remote):
    first = asked(image=drawing("green"))
    text = "".join(remote.stream(first))
    answer = remote.stream([*first, {"role": "assistant", "content": text}, *asked("How many shapes are there?")])
    list(answer)
    assert answer.stats.seen_tokens == 0
    assert answer.stats.reused_tokens > answer.stats.prompt_tokens / 2


def test_what_is_looked_at_ahead_is_not_looked_at_again(remote):
    remote.prepare(asked("", drawing("orange")))
    answer = remote.stream(asked(image=drawing("orange")))
    list(answer)
    assert answer.stats.visual_tokens and not answer.stats.seen_tokens


def test_looking_ahead_ends_when_it_is_not_wanted_any_more(remote, handle):
    began = time.monotonic()
    remote.prepare(asked("", drawing("purple")), wanted=lambda: False)
    assert time.monotonic() - began < 5


def test_stop_ends_the_answer_here_and_there(remote, handle):
    answer = remote.stream(asked(), **LONG)
    next(answer)
    answer.stop()
    began = time.monotonic()
    assert len(list(answer)) < 100
    assert time.monotonic() - began < 1
    wait_until(lambda: idle(handle))


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
    thread.join(1)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "messages, options, error",
    [
        ([], {}, SessionError),
        (asked("  "), {}, SessionError),
        (asked("x" * 20_000), {}, SessionError),
        (asked(image=b"not a picture"), {}, MediaError),
        (asked(), {"beams": 3}, TypeError),
        (asked(), {"stop": ""}, ValueError),
    ],
)
def test_what_a_session_raises_is_raised_here(remote, messages, options, error):
    with pytest.raises(error) as caught:
        list(remote.stream(messages, **options))
    assert type(caught.value) is error
    assert "Traceback" not in str(caught.value)


def test_estimates_and_budgets_are_those_of_a_session(remote, direct):
    question = asked(image=drawing())
    list(remote.stream(question))
    mine, theirs = remote.estimate(question), direct.estimate(question)
    assert (mine.prompt_tokens, mine.visual_tokens) == (theirs.prompt_tokens, theirs.visual_tokens)
    assert mine.seconds > 0
    assert remote.budgets == direct.budgets
    assert remote.memory()["conversations"] > 0


def test_drawn_answers_repeat_with_a_seed(remote):
    options = {"do_sample": True, "temperature": 1.5, "max_new_tokens": 20}
    said = ["".join(remote.stream(asked(image=drawing()), seed=seed, **options)) for seed in (1, 1, 2, 3, 4)]
    assert said[0] == said[1]
    assert len(set(said)) > 1


def test_the_page_does_not_know_the_difference(remote, direct, tmp_path):
    drawing().save(tmp_path / "drawing.png")
    page = make_demo(None, remote.processor, session=remote)
    page.launch(prevent_thread_lock=True, quiet=True)
    try:
        client = Client(page.local_url, verbose=False)
        message = {"text": "Describe this image.", "files": [handle_file(str(tmp_path / "drawing.png"))]}
        job = client.submit(message=message, api_name="/chat")
        assert job.result(timeout=60) == "".join(direct.stream(asked(image=tmp_path / "drawing.png"))).strip()
    finally:
        page.close()


def test_who_finds_no_place_is_told_so(cluster, handle, remote, int4_dir):
    from ray import serve

    serve.delete("chat-busy", _blocking=True)
    few = deploy(int4_dir, "chat-busy", num_replicas=1, max_ongoing_requests=1, max_queued_requests=1,
                 ray_actor_options={"num_cpus": 0})
    session = RemoteSession(few, remote.processor)
    answering, waiting = session.stream(asked(), **LONG), session.stream(asked(), **LONG)
    try:
        next(answering)
        thread = threading.Thread(target=list, args=(waiting,))
        thread.start()
        time.sleep(1)
        with pytest.raises(BusyError, match="try again"):
            list(session.stream(asked()))
    finally:
        waiting.stop()
        answering.close()
        thread.join(5)
        serve.delete("chat-busy")
    assert not thread.is_alive(), "one that waits for its place can be stopped, too"
