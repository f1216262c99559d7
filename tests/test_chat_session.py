"""chat_session and session.prompt: the tokens are the processor's, the answer is generate's, nothing is left over."""

import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chat_session import ChatSession, MediaError, SessionError
from session.media import load_video
from session.prompt import MAX_CHARACTERS, build_inputs
from tests.fake_model import CONTROL_TOKENS, FakeModel, echoing, fake_processor, saying
from tests.test_media import brightening, write_video

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


def left_over() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "chat-session"]


@pytest.fixture(autouse=True)
def no_thread_is_left_over():
    yield
    assert left_over() == []


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
    processor = AutoProcessor.from_pretrained(tiny_dir, min_pixels=40 * 28 * 28, max_pixels=90 * 28 * 28)
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
    "20 000 characters": ([{"role": "user", "content": "a" * 20_000}], "has 20000 characters; at most 10000"),
    "too long in parts": ([user(text("a" * MAX_CHARACTERS), text("b"))], "has 10001 characters"),
    "unknown role": ([{"role": "tool", "content": "x"}], "role 'tool'"),
    "unknown part": ([user({"type": "audio", "audio": "a.wav"})], "type 'audio'"),
    "part without its content": ([user({"type": "image"})], "type 'image'"),
    "text that is none": ([user(text(7))], "is a int"),
}


@pytest.mark.parametrize(("messages", "says"), BAD_MESSAGES.values(), ids=BAD_MESSAGES.keys())
def test_messages_that_cannot_be_answered_are_refused_before_the_model_is_asked(messages, says):
    session = ChatSession(saying("Hi.", PROCESSOR), PROCESSOR)
    with pytest.raises(SessionError, match=says):
        list(session.stream(messages))
    assert session.model.calls == []
    assert "".join(session.stream(HELLO)) == "Hi."


def test_the_longest_message_fits():
    session = ChatSession(echoing(PROCESSOR), PROCESSOR)
    assert "".join(session.stream([user(text("a" * MAX_CHARACTERS))], max_new_tokens=20_000)) == "a" * MAX_CHARACTERS


@pytest.mark.parametrize("block", [image("gone.png"), video("gone.mp4"), video([])])
def test_media_that_cannot_be_used_leave_the_session_usable(block):
    session = ChatSession(saying("Hi.", PROCESSOR), PROCESSOR)
    with pytest.raises(MediaError):
        list(session.stream([user(block, text("What is this?"))]))
    assert session.model.calls == []
    assert "".join(session.stream(HELLO)) == "Hi."


def test_a_conversation_longer_than_the_window_is_refused_with_both_lengths():
    tokens = build_inputs(PROCESSOR, HELLO)["input_ids"].shape[1]
    session = ChatSession(saying("Hi.", PROCESSOR, window=tokens + 10), PROCESSOR)
    with pytest.raises(SessionError, match=f"{tokens} tokens and up to 11 .* the model reads {tokens + 10}"):
        list(session.stream(HELLO, max_new_tokens=11))
    assert session.model.calls == []
    assert "".join(session.stream(HELLO, max_new_tokens=10)) == "Hi."


# ---- streaming ------------------------------------------------------------------------------------------------------

def test_every_token_is_a_piece_as_soon_as_it_is_text():
    assert list(ChatSession(saying("Hi 你!", PROCESSOR), PROCESSOR).stream(HELLO)) == ["H", "i", " ", "你", "!"]


def test_control_tokens_of_the_model_are_not_shown():
    session = ChatSession(saying("<|vision_start|>Hi<|im_end|>", PROCESSOR), PROCESSOR)
    assert "".join(session.stream(HELLO)) == "Hi"


def test_an_empty_answer_is_no_pieces():
    assert list(ChatSession(saying("<|im_end|>", PROCESSOR), PROCESSOR).stream(HELLO)) == []


@given(tokens=st.lists(st.integers(0, len(PROCESSOR.tokenizer) - 1), max_size=40))
@settings(max_examples=200, deadline=None)
def test_pieces_join_to_what_the_tokenizer_decodes(tokens):
    session = ChatSession(FakeModel(lambda inputs: tokens), PROCESSOR)
    assert "".join(session.stream(HELLO)) == PROCESSOR.tokenizer.decode(tokens, skip_special_tokens=True)


def test_generation_options_reach_the_model():
    session = ChatSession(saying("Hi.", PROCESSOR), PROCESSOR)
    list(session.stream(HELLO))
    assert "".join(session.stream(HELLO, max_new_tokens=2, temperature=0.5)) == "Hi"
    assert [call["max_new_tokens"] for call in session.model.calls] == [256, 2]
    assert session.model.calls[1]["temperature"] == 0.5


def test_nothing_happens_before_the_first_piece_is_asked_for():
    session = ChatSession(saying("Hi.", PROCESSOR), PROCESSOR)
    session.stream(HELLO)
    assert session.model.calls == []


def test_an_error_in_the_model_is_raised_where_the_pieces_are_read():
    failure = RuntimeError("out of memory")

    def say(inputs):
        yield from PROCESSOR.tokenizer("Hi")["input_ids"]
        if len(session.model.calls) == 1:
            raise failure

    session = ChatSession(FakeModel(say), PROCESSOR)
    pieces = session.stream(HELLO)
    assert [next(pieces), next(pieces)] == ["H", "i"]
    with pytest.raises(RuntimeError) as raised:
        next(pieces)
    assert raised.value is failure
    assert left_over() == []
    assert "".join(session.stream(HELLO)) == "Hi"


# ---- stopping, and several at once ----------------------------------------------------------------------------------

def test_closing_stops_the_model_within_a_token():
    session = ChatSession(saying("a" * 200, PROCESSOR, gated=True), PROCESSOR)
    pieces = session.stream(HELLO)
    session.model.allow(1)
    assert next(pieces) == "a"
    with ThreadPoolExecutor() as pool:
        closing = pool.submit(pieces.close)
        assert session.model.told_to_stop.wait(30)
        session.model.allow()
        closing.result()
    assert left_over() == []
    assert len(session.model.said) <= 2  # the one that was read, and the one under way
    assert "".join(session.stream(HELLO, max_new_tokens=5)) == "aaaaa"


def test_a_generator_that_is_dropped_stops_the_model():
    session = ChatSession(saying("a" * 200, PROCESSOR), PROCESSOR)
    for piece in session.stream(HELLO):
        assert piece == "a"
        break
    assert left_over() == []


@pytest.fixture
def python_heeds_ctrl_c():
    """As in a terminal: a process that a shell started in the background ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="there, Ctrl-C does not interrupt waiting for a queue")
def test_ctrl_c_while_waiting_for_ones_turn_does_not_wait_for_the_others_answer(python_heeds_ctrl_c):
    session = ChatSession(saying("ab", PROCESSOR, gated=True), PROCESSOR)
    first, second = session.stream(HELLO), session.stream(HELLO)
    session.model.allow(1)
    assert next(first) == "a"
    ctrl_c = threading.Timer(0.3, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
    rescue = threading.Timer(30, session.model.allow)  # so that this test fails rather than hangs
    rescue.start()
    with pytest.raises(KeyboardInterrupt):
        ctrl_c.start()
        next(second)
    rescue.cancel()
    assert len(left_over()) == 1  # the first, which still waits for its second token
    assert len(session.model.said) == 1
    session.model.allow()
    assert list(first) == ["b"]


def test_two_answers_read_in_turns_by_one_thread_do_not_mix_or_wait_for_each_other():
    session = ChatSession(echoing(PROCESSOR), PROCESSOR)
    first, second = session.stream([user(text("abc"))]), session.stream([user(text("xyz"))])
    assert [next(first), next(second), next(first), next(second)] == ["a", "x", "b", "y"]
    assert [list(first), list(second)] == [["c"], ["z"]]


def test_many_callers_get_their_own_answers_one_at_a_time():
    session = ChatSession(echoing(PROCESSOR), PROCESSOR)

    def ask(number: int) -> str:
        return "".join(session.stream([user(image(SQUARE), text(f"This is question number {number}."))]))

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(24)))
    assert answers == [f"This is question number {number}." for number in range(24)]
    assert session.model.most_at_once == 1


# ---- the same as model.generate -------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def tiny_model(tiny_dir):
    from transformers import Qwen2VLForConditionalGeneration
    return Qwen2VLForConditionalGeneration.from_pretrained(tiny_dir, dtype=torch.float32).eval()


def generated(model, processor, messages, **options) -> str:
    inputs = as_the_processor_does(processor, messages)
    tokens = model.generate(**inputs, **options)[0, inputs["input_ids"].shape[1]:]
    return processor.tokenizer.decode(tokens, skip_special_tokens=True)


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_the_answer_is_that_of_generate(tiny_model, tiny_processor, messages):
    answer = "".join(ChatSession(tiny_model, tiny_processor).stream(messages, max_new_tokens=16))
    assert answer == generated(tiny_model, tiny_processor, messages, max_new_tokens=16)


def test_sampled_with_a_seed_the_answer_is_that_of_generate(tiny_model, tiny_processor):
    options = {"max_new_tokens": 16, "do_sample": True, "temperature": 1.5}
    torch.manual_seed(7)
    answer = "".join(ChatSession(tiny_model, tiny_processor).stream(HELLO, **options))
    torch.manual_seed(7)
    assert answer == generated(tiny_model, tiny_processor, HELLO, **options)


def test_a_real_model_stopped_in_mid_answer_answers_the_next_question_as_ever(tiny_model, tiny_processor):
    session = ChatSession(tiny_model, tiny_processor)
    messages = CONVERSATIONS["one picture"]
    expected = "".join(session.stream(messages, max_new_tokens=8))
    pieces = session.stream(CONVERSATIONS["video"], max_new_tokens=500, min_new_tokens=500)
    next(pieces)
    pieces.close()
    assert "".join(session.stream(messages, max_new_tokens=8)) == expected


def test_openvino_answers_a_video_file_as_generate_answers_its_frames(ov_model, processor, tmp_path):
    path = write_video(tmp_path / "a.mp4", [*brightening(12, 112, 112), np.zeros((112, 112, 3), np.uint8)])
    session = ChatSession(ov_model, processor)
    answer = "".join(session.stream([user(video(path), text("What moves?"))], max_new_tokens=12))
    frames = load_video(path).frames
    assert answer == generated(ov_model, processor, [user(video(frames), text("What moves?"))], max_new_tokens=12)


def test_openvino_stopped_in_mid_answer_answers_the_next_question_as_ever(ov_model, processor):
    session = ChatSession(ov_model, processor)
    messages = CONVERSATIONS["one picture"]
    pieces = session.stream(CONVERSATIONS["text"], max_new_tokens=200, min_new_tokens=200)
    next(pieces)
    pieces.close()
    expected = generated(ov_model, processor, messages, max_new_tokens=8)
    assert "".join(session.stream(messages, max_new_tokens=8)) == expected
