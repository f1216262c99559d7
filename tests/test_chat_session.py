"""chat_session and session.prompt: the tokens are the processor's, answers stay apart, nothing is left over.

On a fake model, so that every token can be held back. That the answers are `generate`'s, on real models, is in
test_session_exact.py.
"""

import contextlib
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adapters.qwen_vl import PIXELS_PER_TOKEN
from chat_session import MediaError, SessionError
from session import chunks
from session.prefill import ENCODING, PREFILLING, ThroughputEstimate
from session.prompt import MAX_CHARACTERS, build_prompt, model_inputs
from session.vision_inputs import MediaProcessor
from tests.fake_model import CONTROL_TOKENS, END, FakeCache, FakeModel, FakeSession, echoing, fake_processor, saying

PROCESSOR = fake_processor()
HELLO = [{"role": "user", "content": "Hello!"}]
SQUARE = Image.new("RGB", (60, 60), "red")
WIDE = Image.new("RGB", (120, 40), "blue")
FRAMES = [Image.new("RGB", (56, 56), (40 * i, 0, 0)) for i in range(6)]


def user(*content) -> dict:
    return {"role": "user", "content": list(content)}


def text(words: str) -> dict:
    return {"type": "text", "text": words}


def image(source) -> dict:
    return {"type": "image", "image": source}


def video(source, **more) -> dict:
    return {"type": "video", "video": source, **more}


def build_inputs(processor, messages) -> dict:
    return model_inputs(build_prompt(processor, messages))


def session_on(model: FakeModel, **limits) -> FakeSession:
    session = FakeSession(model, PROCESSOR, **limits)
    session.model = model
    return session


# ---- from messages to tokens ----------------------------------------------------------------------------------------

CONVERSATIONS = {
    "text": HELLO,
    "system": [{"role": "system", "content": "Be brief."}, *HELLO],
    "one picture": [user(image(SQUARE), text("What is this?"))],
    "picture alone": [user(image(SQUARE))],
    "two pictures, in between": [user(image(SQUARE), text("Is this like "), image(WIDE), text("?"))],
    "video": [user(video(FRAMES, fps=3.0), text("What moves?"))],
    "several turns": [user(image(SQUARE), text("\n  What?\n\n")), {"role": "assistant", "content": " A square.\n"},
                      user(video(FRAMES[:3]), image(WIDE), text("And this — 你好, 12 345 👩‍🚀?"))],
}


def as_the_processor_does(processor, messages) -> dict:
    blocks = [b for message in messages if not isinstance(message["content"], str) for b in message["content"]]
    prompt = processor.apply_chat_template(
        [{**m, "content": [text(m["content"])] if isinstance(m["content"], str) else m["content"]} for m in messages],
        tokenize=False, add_generation_prompt=True)
    return processor(text=[prompt], images=[b["image"] for b in blocks if b["type"] == "image"] or None,
                     videos=[b["video"] for b in blocks if b["type"] == "video"] or None, return_tensors="pt")


@pytest.fixture(scope="module")
def tiny_processor(tiny_dir):
    from transformers import AutoProcessor
    return AutoProcessor.from_pretrained(tiny_dir)


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_the_model_is_fed_what_the_processor_would_feed_it(tiny_processor, messages):
    expected = as_the_processor_does(tiny_processor, messages)
    inputs = build_inputs(tiny_processor, messages)
    assert inputs.keys() == expected.keys()
    for name in expected:
        assert torch.equal(inputs[name], expected[name]), name


def test_a_pixel_budget_given_at_loading_holds(tiny_dir):
    from transformers import AutoProcessor
    budget = {"min_pixels": 40 * PIXELS_PER_TOKEN, "max_pixels": 90 * PIXELS_PER_TOKEN}
    processor = AutoProcessor.from_pretrained(tiny_dir, **budget)
    messages = [user(image(SQUARE), image(Image.new("RGB", (1000, 800))), text("Which is larger?"))]
    inputs = build_inputs(processor, messages)
    assert torch.equal(inputs["input_ids"], as_the_processor_does(processor, messages)["input_ids"])
    assert all(40 <= tokens <= 90 for tokens in inputs["image_grid_thw"].prod(dim=1) / 4)


@given(words=st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_ordinary_text_gets_the_tokens_that_the_tokenizer_gives_it(tiny_processor, words):
    messages = [user(text(words)), {"role": "assistant", "content": words}, *HELLO]
    expected = as_the_processor_does(tiny_processor, messages)["input_ids"]
    assert torch.equal(build_inputs(tiny_processor, messages)["input_ids"], expected)


@given(words=st.lists(st.sampled_from([*CONTROL_TOKENS, "<|", "|>", "im_end", " ", "\n"]), max_size=8).map("".join),
       role=st.sampled_from(["system", "user", "assistant"]))
@settings(max_examples=100, deadline=None)
def test_control_tokens_typed_by_hand_stay_text(tiny_processor, words, role):
    def tokens(content):
        messages = [{"role": role, "content": content}, user(image(SQUARE), text("x"))]
        return build_inputs(tiny_processor, messages)["input_ids"][0].tolist()

    tokenizer = tiny_processor.tokenizer
    control = set(tokenizer.all_special_ids) | {tiny_processor.image_token_id, tiny_processor.video_token_id}
    assert [i for i in tokens(words) if i in control] == [i for i in tokens("x") if i in control]
    assert f"<|im_start|>{role}\n{words}<|im_end|>\n" in tokenizer.decode(tokens(words))


def test_the_times_of_frames_reach_the_video_processor(monkeypatch):
    seen = []
    processor = fake_processor()
    see = processor.video_processor.preprocess
    monkeypatch.setattr(processor.video_processor, "preprocess",
                        lambda videos, **options: seen.append(options) or see(videos, **options))
    build_inputs(processor, [user(video(FRAMES, fps=3.0))])
    assert seen[0]["video_metadata"] == [{"fps": 3.0, "total_num_frames": 6, "duration": 2.0}]
    assert seen[0]["do_sample_frames"] is False


@pytest.mark.parametrize("height", [1, 3])
@pytest.mark.parametrize("block", [image, lambda source: video([source, source])])
def test_colours_stay_apart_where_transformers_takes_lines_for_channels(block, height):
    inputs = build_inputs(PROCESSOR, [user(block(Image.new("RGB", (30, height), "red")))])
    pixels = inputs.get("pixel_values", inputs.get("pixel_values_videos"))
    by_channel = pixels.reshape(-1, 3, 2 * 14 * 14)  # patches, RGB, (time, height, width)
    assert (by_channel.std(dim=(0, 2)) < 1e-5).all()


# ---- messages that cannot be answered -------------------------------------------------------------------------------

BAD_MESSAGES = {
    "no messages": ([], "no question"),
    "answer last": ([*HELLO, {"role": "assistant", "content": "Hi."}], "no question"),
    "empty text": ([{"role": "user", "content": ""}], "is empty"),
    "blank text": ([user(text(" \n\t"))], "is empty"),
    "no content": ([{"role": "user", "content": None}], "is empty"),
    "too long in parts": ([user(text("a" * MAX_CHARACTERS), text("b"))], "has 500001 characters; at most 500000"),
    "too long in all": ([{"role": "system", "content": "a" * MAX_CHARACTERS}, *HELLO], "has 50000[0-9] characters"),
    "a size that is not heeded": ([user({**image("a.png"), "resized_height": 28})], "resized_height is not heeded"),
    "unknown role": ([{"role": "tool", "content": "x"}], "role 'tool'"),
    "unknown part": ([user({"type": "audio", "audio": "a.wav"})], "type 'audio'"),
    "part without its content": ([user({"type": "image"})], "type 'image'"),
    "text that is none": ([user(text(7))], "is a int"),
}


@pytest.mark.parametrize(("messages", "says"), BAD_MESSAGES.values(), ids=BAD_MESSAGES.keys())
def test_messages_that_cannot_be_answered_are_refused_before_the_model_is_asked(messages, says):
    session = session_on(saying("Hi.", PROCESSOR))
    with pytest.raises(SessionError, match=says):
        list(session.stream(messages))
    assert session.model.calls == []
    assert "".join(session.stream(HELLO)) == "Hi."


def test_a_long_message_fits():
    session = session_on(echoing(PROCESSOR))
    assert "".join(session.stream([user(text("a" * 10_000))], max_new_tokens=20_000)) == "a" * 10_000


@pytest.mark.parametrize("block", [image("gone.png"), video("gone.mp4"), video([])])
def test_media_that_cannot_be_used_leave_the_session_usable(block):
    session = session_on(saying("Hi.", PROCESSOR))
    with pytest.raises(MediaError):
        list(session.stream([user(block, text("What is this?"))]))
    assert session.model.calls == []
    assert "".join(session.stream(HELLO)) == "Hi."


def test_a_conversation_longer_than_the_window_is_refused_with_both_lengths():
    tokens = build_inputs(PROCESSOR, HELLO)["input_ids"].shape[1]
    session = session_on(saying("Hi.", PROCESSOR, window=tokens))
    with pytest.raises(SessionError, match=f"{tokens + 1} tokens, but the model reads {tokens}"):
        list(session.stream(HELLO))
    assert session.model.calls == []


@pytest.mark.parametrize("length", [None, 3, 4000])
def test_an_answer_is_cut_to_what_the_window_has_room_for(length):
    tokens = build_inputs(PROCESSOR, HELLO)["input_ids"].shape[1]
    session = session_on(saying("a" * 9, PROCESSOR, window=tokens + 3))
    answer, stats = asked(session, HELLO, max_new_tokens=length)
    assert (answer, stats.finish_reason) == ("aaa", "length")


# ---- streaming ------------------------------------------------------------------------------------------------------

def test_every_token_is_a_piece_as_soon_as_it_is_text():
    assert list(session_on(saying("Hi 你!", PROCESSOR)).stream(HELLO)) == ["H", "i", " ", "你", "!"]


def test_control_tokens_of_the_model_are_not_shown():
    session = session_on(saying("<|vision_start|>Hi<|im_end|>", PROCESSOR))
    assert "".join(session.stream(HELLO)) == "Hi"


def test_an_empty_answer_is_no_pieces():
    assert list(session_on(saying("<|im_end|>", PROCESSOR)).stream(HELLO)) == []


@given(tokens=st.lists(st.integers(0, len(PROCESSOR.tokenizer) - 1), max_size=40))
@settings(max_examples=200, deadline=None)
def test_pieces_join_to_what_the_tokenizer_decodes(tokens):
    session = session_on(FakeModel(lambda inputs: tokens))
    answered = tokens[: tokens.index(END)] if END in tokens else tokens
    assert "".join(session.stream(HELLO)) == PROCESSOR.tokenizer.decode(answered, skip_special_tokens=True)


def test_an_answer_is_as_long_as_it_may_be():
    session = session_on(saying("Hi.", PROCESSOR))
    assert "".join(session.stream(HELLO, max_new_tokens=2)) == "Hi"
    assert len(session.model.said) == 2  # the third was not computed for nothing


def test_an_unknown_option_is_refused_with_the_known_ones():
    session = session_on(saying("Hi.", PROCESSOR))
    with pytest.raises(TypeError, match=r"Unknown option num_beams; there are max_new_tokens, .*seed"):
        list(session.stream(HELLO, num_beams=4))
    with pytest.raises(ValueError, match="empty stop string"):
        list(session.stream(HELLO, stop=("a", "")))


def test_an_answer_without_a_token_is_refused():
    with pytest.raises(ValueError, match="max_new_tokens is 0"):
        list(session_on(saying("Hi.", PROCESSOR)).stream(HELLO, max_new_tokens=0))


@pytest.mark.parametrize(("stop", "answer"), [
    ((), "one two three"), (("two",), "one "), ("two", "one "),
    (("three", "e t"), "on"), (("four",), "one two three"), (("one",), ""),
    (("thr3",), "one two three"), (("eee", "ee"), "one two thr"),
])
def test_stop_strings_end_the_answer_and_are_not_in_it(stop, answer):
    session = session_on(saying("one two three", PROCESSOR))
    assert "".join(session.stream(HELLO, stop=stop)) == answer


@given(said=st.text("ab", max_size=12), stop=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3).map(tuple))
@settings(max_examples=200, deadline=None)
def test_any_stop_string_ends_the_answer_where_it_first_is(said, stop):
    answer = "".join(session_on(saying(said, PROCESSOR)).stream(HELLO, stop=stop))
    ends = [said.find(s) + len(s) for s in stop if s in said]
    written = said[: min(ends, default=len(said))]  # nothing is computed past the first that is complete
    assert answer == written[: min((written.find(s) for s in stop if s in written), default=len(written))]


def test_nothing_happens_before_the_first_piece_is_asked_for():
    session = session_on(saying("Hi.", PROCESSOR))
    session.stream(HELLO)
    assert session.model.calls == []


def test_an_error_in_the_model_is_raised_where_the_pieces_are_read():
    failure = RuntimeError("out of memory")

    def say(inputs):
        yield from PROCESSOR.tokenizer("Hi")["input_ids"]
        if len(session.model.calls) == 1:
            raise failure

    session = session_on(FakeModel(say))
    pieces = session.stream(HELLO)
    assert [next(pieces), next(pieces)] == ["H", "i"]
    with pytest.raises(RuntimeError) as raised:
        next(pieces)
    assert raised.value is failure
    assert "".join(session.stream(HELLO)) == "Hi"


# ---- stopping, and several at once ----------------------------------------------------------------------------------

def test_closing_from_another_thread_stops_the_model_within_a_token():
    session = session_on(saying("a" * 200, PROCESSOR, gated=True))
    pieces = session.stream(HELLO)
    session.model.allow(1)
    assert next(pieces) == "a"
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(list, pieces)
        while not session.model.running:
            time.sleep(0.01)
        pieces.close()
        assert waiting.result(30) == []
    assert session.model.told_to_stop.is_set()
    assert len(session.model.said) == 1
    session.model.allow()
    assert "".join(session.stream(HELLO, max_new_tokens=5)) == "aaaaa"


@pytest.mark.parametrize("end", ["close", "stop"])
def test_an_answer_ended_before_it_began_computes_nothing(end):
    session = session_on(saying("Hi.", PROCESSOR))
    pieces = session.stream(HELLO)
    getattr(pieces, end)()
    assert list(pieces) == [] and session.model.calls == []


@pytest.mark.parametrize("ask", [
    lambda session, answer: next(answer), lambda session, answer: answer.close(),
    lambda session, answer: list(session.stream(HELLO)), lambda session, answer: session.prepare([user(image(SQUARE))]),
], ids=["its pieces", "its end", "another answer", "preparing"])
def test_progress_that_asks_the_session_is_refused_instead_of_waiting_for_ever(ask):
    session = session_on(saying("abc", PROCESSOR))
    answer = session.stream(HELLO, progress=lambda _: ask(session, answer))
    with pytest.raises(RuntimeError, match="progress"):
        list(answer)
    assert asked(session, HELLO)[0] == "abc"


@pytest.mark.parametrize("options, why", [
    ({}, "stop"), ({"max_new_tokens": 4}, "stop"), ({"max_new_tokens": 3}, "length"), ({"stop": "bc"}, "stop"),
    ({"stop": "c", "max_new_tokens": 3}, "stop"), ({"stop": "x", "max_new_tokens": 3}, "length"),
])
def test_an_answer_says_why_it_ended(options, why):
    _, stats = asked(session_on(saying("abc", PROCESSOR)), HELLO, **options)  # three tokens and the one that ends it
    assert (stats.finish_reason, stats.finished) == (why, why == "stop")


def test_an_answer_that_was_stopped_has_not_ended_by_itself():
    answer = session_on(saying("abc", PROCESSOR)).stream(HELLO)
    next(answer)
    assert answer.stats.finish_reason == ""
    answer.stop()
    list(answer)
    assert (answer.stats.finish_reason, answer.stats.finished) == ("", False)


def test_a_dropped_answer_is_closed_and_what_it_read_is_kept():
    session = session_on(saying("a" * 200, PROCESSOR))
    for piece in session.stream(HELLO):
        assert piece == "a"
        break
    assert session.model.told_to_stop.is_set()
    session.prepare([user(image(SQUARE))])  # which would wait for an answer that is still open
    _, stats = asked(session, HELLO, max_new_tokens=3)
    assert stats.cached_tokens == stats.prompt_tokens - 1


def test_an_answer_that_nobody_reads_on_does_not_hold_up_preparing():
    session = session_on(saying("a" * 200, PROCESSOR))
    unread = session.stream(HELLO)
    assert next(unread) == "a"
    session.prepare([user(image(SQUARE))])
    assert next(unread) == "a"


def test_an_answer_can_be_stopped_by_its_own_progress():
    session = session_on(saying("abc", PROCESSOR))
    answer = session.stream(HELLO, progress=lambda _: answer.stop())
    assert list(answer) in ([], ["a"])  # the token that was under way
    assert asked(session, HELLO)[0] == "abc"


@pytest.fixture
def python_heeds_ctrl_c():
    """As in a terminal: a process that a shell started in the background ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_soon() -> threading.Timer:
    return threading.Timer(0.3, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])


@pytest.mark.skipif(sys.platform == "win32", reason="there, no signal can be sent to a thread")
@pytest.mark.parametrize("waiting_for", ["its turn", "its token"])
def test_ctrl_c_ends_the_waiting_and_leaves_the_session_usable(python_heeds_ctrl_c, waiting_for):
    session = session_on(saying("ab", PROCESSOR, gated=True))
    with ThreadPoolExecutor() as pool:
        other = pool.submit(next, session.stream(HELLO)) if waiting_for == "its turn" else None
        while other and not session.model.running:
            time.sleep(0.01)
        rescue = threading.Timer(30, session.model.allow)  # so that this test fails rather than hangs
        rescue.start()
        interrupt_soon().start()
        with pytest.raises(KeyboardInterrupt):
            next(session.stream(HELLO))
        rescue.cancel()
        session.model.allow()
        assert other is None or other.result() == "a"
    assert list(session.stream(HELLO)) == ["a", "b"]


@pytest.mark.parametrize("calls", range(1, 12))
def test_a_second_ctrl_c_while_the_first_is_heeded_leaves_the_session_usable(calls):
    """It comes before the n-th line of the scheduler after the first one: nobody waits for a turn that is over."""
    session, left = session_on(saying("ab", PROCESSOR)), [None]

    def interrupt(frame, event, argument):
        if not frame.f_code.co_filename.endswith("scheduler.py"):
            return None
        if event == "line" and left[0] is not None:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
        return interrupt

    def first(progress):
        left[0] = calls
        raise KeyboardInterrupt

    sys.settrace(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(session.stream(HELLO, progress=first))
    finally:
        sys.settrace(None)
    with ThreadPoolExecutor() as pool:
        assert pool.submit(list, session.stream(HELLO)).result(10) == ["a", "b"]
    session.prepare([user(image(SQUARE))])


def test_two_answers_read_in_turns_by_one_thread_do_not_mix_or_wait_for_each_other():
    session = session_on(echoing(PROCESSOR))
    first, second = session.stream([user(text("abc"))]), session.stream([user(text("xyz"))])
    assert [next(first), next(second), next(first), next(second)] == ["a", "x", "b", "y"]
    assert [list(first), list(second)] == [["c"], ["z"]]


def test_many_callers_get_their_own_answers_one_at_a_time():
    session = session_on(echoing(PROCESSOR))

    def ask(number: int) -> str:
        return "".join(session.stream([user(image(SQUARE), text(f"This is question number {number}."))]))

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(24)))
    assert answers == [f"This is question number {number}." for number in range(24)]
    assert session.model.most_at_once == 1


# ---- what is kept ---------------------------------------------------------------------------------------------------

def asked(session, messages, **options) -> tuple[str, object]:
    answer = session.stream(messages, **options)
    return "".join(answer), answer.stats


def test_a_second_turn_reads_only_what_is_new():
    session = session_on(echoing(PROCESSOR))
    first = [user(image(SQUARE), text("abc"))]
    answer, stats = asked(session, first)
    assert (stats.cached_tokens, stats.encoded_tokens) == (0, stats.visual_tokens) and stats.visual_tokens > 0
    answer, again = asked(session, [*first, {"role": "assistant", "content": answer}, user(text("xyz"))])
    assert answer == "xyz"
    assert again.cached_tokens == stats.prompt_tokens + len("abc")
    assert again.encoded_tokens == 0


def test_the_same_picture_in_a_new_conversation_is_neither_seen_nor_read_again():
    session = session_on(echoing(PROCESSOR))
    asked(session, [user(image(SQUARE), text("abc"))])
    answer, stats = asked(session, [user(image(SQUARE.copy()), text("xyz"))])
    assert answer == "xyz"
    assert stats.encoded_tokens == 0 and stats.cached_tokens > stats.visual_tokens


def test_another_picture_of_the_same_size_is_not_taken_for_the_first():
    session = session_on(echoing(PROCESSOR))
    asked(session, [user(image(SQUARE), text("abc"))])
    _, stats = asked(session, [user(image(Image.new("RGB", SQUARE.size, "blue")), text("abc"))])
    assert stats.encoded_tokens == stats.visual_tokens
    assert stats.cached_tokens < stats.prompt_tokens - stats.visual_tokens


def test_a_conversation_that_another_one_went_on_from_is_still_there():
    session = session_on(echoing(PROCESSOR))
    start = [user(text("start"))]
    ways = [[*start, {"role": "assistant", "content": "start"}, user(text(word))] for word in ("left", "right")]
    for way in (*ways, *ways):
        answer, stats = asked(session, way)
        assert answer == way[-1]["content"][0]["text"]
    assert stats.cached_tokens == stats.prompt_tokens - 1


def test_no_more_is_kept_than_allowed():
    session = session_on(echoing(PROCESSOR), max_cached_prefixes=2)
    for word in "abc":
        asked(session, [user(text(word * 9))])
    assert len(session._prefixes) == 2
    assert asked(session, [user(text("a" * 9))])[0] == "a" * 9
    assert asked(session_on(echoing(PROCESSOR), max_cached_prefixes=0), HELLO)[0] == "Hello!"
    assert asked(session_on(echoing(PROCESSOR), max_bytes=0), [user(image(SQUARE), text("x"))])[0] == "x"


def test_a_long_prompt_is_read_in_chunks_and_tells_how_far_it_is(monkeypatch):
    monkeypatch.setattr(chunks, "FIRST_CHUNK_TOKENS", 500)
    monkeypatch.setattr(chunks, "LATER_CHUNK_TOKENS", 200)
    session, told = session_on(echoing(PROCESSOR)), []
    question = "word " * 1000
    _, stats = asked(session, [user(image(SQUARE), video(FRAMES), text(question))], progress=told.append)
    total = stats.prompt_tokens
    assert [(p.done, p.total) for p in told if p.stage == ENCODING] == [(n, 4) for n in range(4)]
    prefilled = [(p.done, p.total) for p in told if p.stage == PREFILLING]
    assert prefilled == [(n, total) for n in (0, *range(500, total, 200))]


def test_a_prefix_is_not_used_where_prefilling_all_at_once_costs_less():
    session, words = session_on(echoing(PROCESSOR)), "word " * 200
    first = [user(text(words))]
    _, stats = asked(session, first)
    answered, before = [*first, {"role": "assistant", "content": "Yes."}], stats.prompt_tokens
    _, stats = asked(session, [*answered, user(text("And this?"))])
    assert stats.cached_tokens >= before - 1
    _, stats = asked(session, [*answered, user(text("word " * 2000))])
    assert stats.cached_tokens == 0


def test_asking_once_more_copies_no_cache_until_too_much_of_it_is_rolled_back(monkeypatch):
    session, copies = session_on(echoing(PROCESSOR)), []
    asked(session, HELLO)
    for _ in range(5):
        before = FakeCache.copies
        answer, stats = asked(session, HELLO)
        assert (answer, stats.cached_tokens) == ("Hello!", stats.prompt_tokens - 1)
        copies.append(FakeCache.copies - before)
        monkeypatch.setattr("session.caches.MAX_GAPS", 0 if len(copies) == 3 else 512)
    assert copies == [0, 0, 0, 1, 0]


def test_the_way_not_taken_is_kept(monkeypatch):
    """Only the answer to the very same prompt is dropped; who goes on from a prefix of another one gets a copy."""
    session = session_on(echoing(PROCESSOR))
    asked(session, HELLO)
    answered = [*HELLO, {"role": "assistant", "content": "Hello!"}]
    for word in ("one", "two"):
        _, stats = asked(session, [*answered, user(text(word))])
        assert stats.cached_tokens > stats.prompt_tokens / 2
    _, stats = asked(session, [*answered, user(text("one"))])
    assert stats.cached_tokens == stats.prompt_tokens - 1


def test_prepared_pictures_are_neither_seen_nor_read_when_the_question_comes():
    session = session_on(echoing(PROCESSOR))
    session.prepare([user(image(SQUARE))])
    answer, stats = asked(session, [user(image(SQUARE), text("abc"))])
    assert (answer, stats.encoded_tokens) == ("abc", 0)
    assert stats.cached_tokens > stats.visual_tokens


def preparing(session, pool, *pictures):
    """Starts to prepare, and returns when the model has begun to look; it looks until `may_look` is set."""
    session.model.may_look.clear()
    future = pool.submit(session.prepare, [user(*map(image, pictures))])
    assert session.model.looking.wait(30)
    return future


def test_preparing_gives_way_to_a_question_and_goes_on_after_it():
    session = session_on(echoing(PROCESSOR))
    with ThreadPoolExecutor() as pool:
        prepared = preparing(session, pool, SQUARE)
        assert asked(session, [user(text("ab"))])[0] == "ab"
        assert not prepared.done() and session.model.seen == 0
        session.model.may_look.set()
        prepared.result(30)
    assert session.model.seen == 1
    assert asked(session, [user(image(SQUARE), text("abc"))])[1].encoded_tokens == 0


def test_a_question_about_the_picture_that_is_looked_at_waits_for_it():
    session = session_on(echoing(PROCESSOR))
    with ThreadPoolExecutor() as pool:
        prepared = preparing(session, pool, SQUARE)
        question = pool.submit(asked, session, [user(image(SQUARE), text("abc"))])
        time.sleep(0.2)
        session.model.may_look.set()
        assert question.result(30)[0] == "abc"
        prepared.result(30)
    assert session.model.seen == 1


def test_warming_up_sees_and_reads_something_once():
    session = session_on(echoing(PROCESSOR))
    session.warm_up()
    session.warm_up()
    assert session.model.seen == 1
    assert session.estimate(HELLO).seconds > 0


def test_preparing_is_called_off():
    session, wanted = session_on(echoing(PROCESSOR)), threading.Event()
    wanted.set()
    session.model.may_look.clear()
    with ThreadPoolExecutor() as pool:
        prepared = pool.submit(session.prepare, [user(image(SQUARE))], wanted=wanted.is_set)
        assert session.model.looking.wait(30)
        wanted.clear()
        prepared.result(30)
    session.model.may_look.set()
    assert session.model.seen == 0
    assert asked(session, [user(image(SQUARE), text("abc"))])[0] == "abc"


def test_a_budget_bounds_what_a_picture_takes_and_an_estimate_tells_it_before():
    session, large = session_on(echoing(PROCESSOR)), Image.new("RGB", (560, 560), "red")
    question = [user(image(large), text("abc"))]
    lowest, most = session.visual_token_budget
    assert session.estimate(question).visual_tokens == most == 64
    assert session.estimate(question).seconds is None  # nothing was measured yet
    answer, stats = asked(session, question, max_visual_tokens=9)
    assert (answer, stats.visual_tokens) == ("abc", 9)
    estimate = session.estimate(question, max_visual_tokens=9)
    assert (estimate.visual_tokens, estimate.prompt_tokens) == (9, stats.prompt_tokens)
    assert estimate.seconds > 0
    assert session.estimate(question, max_visual_tokens=lowest - 1).visual_tokens == 1
    with pytest.raises(MediaError, match="at least"):
        asked(session, question, max_visual_tokens=0)


def test_the_seconds_left_fall_while_a_prompt_is_read(monkeypatch):
    """On a machine whose pace is always the same: ours is not, and with it the prediction may rise."""

    @contextlib.contextmanager
    def one_second_a_token(throughput, stage, tokens):
        yield
        throughput._measured[stage] = (tokens, tokens)

    monkeypatch.setattr(ThroughputEstimate, "measured", one_second_a_token)
    session, told = session_on(echoing(PROCESSOR)), []
    asked(session, [user(image(SQUARE), text("abc"))])
    asked(session, [user(image(WIDE), video(FRAMES), text("word " * 1000))], progress=told.append)
    left = [p.seconds_left for p in told]
    assert len(left) > 4 and left[-1] < left[0]
    assert left == sorted(left, reverse=True)


# ---- visitors -------------------------------------------------------------------------------------------------------

def test_what_one_visitor_asked_and_showed_tells_another_nothing():
    """`cached_tokens` gave away another's PIN, digit by digit, and whether a picture had been shown before."""
    session = session_on(echoing(PROCESSOR))
    secret = [user(image(SQUARE), text("My PIN is 4711. Keep it."))]
    session.prepare([user(image(SQUARE))], visitor="a")
    asked(session, secret, visitor="a")
    _, stats = asked(session, secret, visitor="b")
    assert (stats.cached_tokens, stats.encoded_tokens) == (0, stats.visual_tokens)
    for visitor in "ab":
        _, again = asked(session, secret, visitor=visitor)
        assert (again.cached_tokens, again.encoded_tokens) == (again.prompt_tokens - 1, 0)


def test_opened_files_are_kept_for_one_visitor_only(tmp_path):
    SQUARE.save(tmp_path / "a.png")
    session, kept = session_on(echoing(PROCESSOR)), []
    for visitor in "aab":
        asked(session, [user(image(str(tmp_path / "a.png")), text("abc"))], visitor=visitor)
        kept.append(session.memory()["patches"])
    assert kept[0] == kept[1] and kept[2] == 2 * kept[0] > 0


def test_a_shared_cache_serves_everybody():
    session = session_on(echoing(PROCESSOR), shared_cache=True)
    question = [user(image(SQUARE), text("abc"))]
    asked(session, question, visitor="a")
    _, stats = asked(session, question, visitor="b")
    assert (stats.cached_tokens, stats.encoded_tokens) == (stats.prompt_tokens - 1, 0)


def test_many_answers_of_one_group_take_no_more_from_another_than_one_would():
    said = PROCESSOR.tokenizer("a" * 200)["input_ids"]
    session = session_on(FakeModel(lambda inputs: said))
    greedy = [session.stream(HELLO, visitor=f"greedy/{number}") for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        running = [pool.submit(list, answer) for answer in greedy]
        while len(session.model.said) < 200:
            time.sleep(0.01)
        before = len(session.model.said)
        other = "".join(session.stream(HELLO, max_new_tokens=20, visitor="other"))
        meanwhile = len(session.model.said) - before - 20
        for answer in greedy:
            answer.stop()
        assert all(future.result(30) for future in running)
    assert other == "a" * 20
    assert meanwhile < 150, "each of the 20 would have had its turn 20 times: 400"


def test_answers_that_were_stopped_while_they_waited_compute_nothing():
    said = PROCESSOR.tokenizer("a" * 50)["input_ids"]
    session = session_on(FakeModel(lambda inputs: said, gated=True))
    first, others = session.stream(HELLO), [session.stream(HELLO, visitor="b", max_new_tokens=50) for _ in range(20)]
    with ThreadPoolExecutor(21) as pool:
        running = pool.submit(list, first)
        while not session.model.running:
            time.sleep(0.01)
        waiting = [pool.submit(list, answer) for answer in others]
        while len(session.model.calls) < 21:
            time.sleep(0.01)
        for answer in others:
            answer.stop()
        assert all(future.result(30) == [] for future in waiting)
        session.model.allow()
        assert "".join(running.result(30)) == "a" * 50
    assert len(session.model.said) == 50


def test_notes_about_files_reach_the_reader_once(monkeypatch):
    process, notes = MediaProcessor.process, ("It lacks its end.",)
    monkeypatch.setattr(MediaProcessor, "process", lambda *given: replace(process(*given), notes=notes))
    _, stats = asked(session_on(echoing(PROCESSOR)), [user(image(SQUARE), image(WIDE), text("abc"))])
    assert stats.notes == notes


# ---- going on -------------------------------------------------------------------------------------------------------

def letters(inputs: dict):
    """The alphabet, from where the answer in the prompt ends."""
    answer = PROCESSOR.tokenizer.decode(inputs["input_ids"][0]).rpartition("assistant\n")[2]
    return PROCESSOR.tokenizer("abc你好xyz"[len(answer):])["input_ids"]


def test_an_answer_goes_on_where_it_was_cut_from_what_is_kept():
    session = session_on(FakeModel(letters))
    answer, first = asked(session, HELLO, max_new_tokens=2)
    messages = [*HELLO, {"role": "assistant", "content": answer}]
    more, stats = asked(session, messages, max_new_tokens=1, continue_final_message=True)
    assert (answer, more) == ("ab", "c")
    assert (first.finish_reason, stats.finish_reason) == ("length", "length")
    assert stats.prompt_tokens == first.prompt_tokens + 2 and stats.cached_tokens == stats.prompt_tokens - 1
    messages = [*HELLO, {"role": "assistant", "content": answer + more}]
    assert asked(session, messages, continue_final_message=True)[0] == "你好xyz"


def test_an_answer_cut_within_a_character_goes_on_with_that_character():
    said = PROCESSOR.tokenizer("ab你好")["input_ids"]  # a token for each byte
    prompt = build_inputs(PROCESSOR, HELLO)["input_ids"].shape[1]
    session = session_on(FakeModel(lambda inputs: said[inputs["input_ids"].shape[1] - prompt:]))
    for tokens in range(1, len(said)):
        answer, _ = asked(session, HELLO, max_new_tokens=tokens)
        more, stats = asked(session, [*HELLO, {"role": "assistant", "content": answer}], continue_final_message=True)
        assert answer + more == "ab你好" and "�" not in answer
        assert stats.cached_tokens == prompt + tokens - 1


def test_an_answer_that_was_stopped_goes_on_too():
    session = session_on(FakeModel(letters))
    answer = session.stream(HELLO)
    begun = next(answer) + next(answer)
    answer.close()
    more, stats = asked(session, [*HELLO, {"role": "assistant", "content": begun}], continue_final_message=True)
    assert begun + more == "abc你好xyz"
    assert stats.cached_tokens == stats.prompt_tokens - 1


def test_an_answer_in_other_words_than_were_written_goes_on_as_text():
    session = session_on(FakeModel(letters))
    asked(session, HELLO)
    more, stats = asked(session, [*HELLO, {"role": "assistant", "content": "ABC"}], continue_final_message=True)
    assert more == "你好xyz" and stats.cached_tokens == stats.prompt_tokens - 3


@pytest.mark.parametrize("messages", [[], HELLO, [*HELLO, {"role": "assistant", "content": [image(SQUARE)]}]])
def test_only_an_answer_can_go_on(messages):
    with pytest.raises(SessionError, match="no answer to go on with"):
        list(session_on(saying("Hi.", PROCESSOR)).stream(messages, continue_final_message=True))


def test_an_answer_that_filled_the_window_cannot_go_on():
    tokens = build_inputs(PROCESSOR, HELLO)["input_ids"].shape[1]
    session = session_on(FakeModel(letters, window=tokens + 3))
    answer, _ = asked(session, HELLO)
    with pytest.raises(SessionError, match="too long"):
        list(session.stream([*HELLO, {"role": "assistant", "content": answer}], continue_final_message=True))


def test_preparing_refuses_what_a_question_refuses():
    session = session_on(echoing(PROCESSOR, window=10))
    with pytest.raises(SessionError, match="too long"):
        session.prepare([user(image(SQUARE))])
    with pytest.raises(MediaError):
        session.prepare([user(image("gone.png"))])
    with pytest.raises(SessionError, match="no question"):
        session.prepare([])
    with pytest.raises(SessionError, match="type 'audio'"):
        session.prepare([user({"type": "audio", "audio": "a.wav"})])
