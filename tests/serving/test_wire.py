"""What crosses between processes, without any Ray."""

import io
import os
import pickle

import pytest
from PIL import Image

from chat_session import MediaError, SessionError
from serving import wire
from session.media import load_image


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 30), "red").save(path)
    return path


def asked(*blocks):
    return [{"role": "user", "content": list(blocks)}]


def test_a_file_arrives_byte_for_byte_and_the_same_bytes_have_the_same_path(picture):
    files = wire.Files(1 << 20)
    packed = pickle.loads(pickle.dumps(wire.pack(asked({"type": "image", "image": str(picture)}))))
    first, second = (files.unpack(packed)[0]["content"][0]["image"] for _ in range(2))
    assert first == second
    with open(first, "rb") as file:
        assert file.read() == picture.read_bytes()


def test_pixels_of_a_pil_image_and_of_frames_arrive_as_they_are():
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    video = {"type": "video", "video": frames, "fps": 2.0}
    image, arrived = wire.Files(1 << 20).unpack(wire.pack(asked({"type": "image", "image": frames[0]}, video)))[0][
        "content"
    ]
    assert load_image(image["image"]).tobytes() == frames[0].tobytes()
    assert [load_image(f).tobytes() for f in arrived["video"]] == [f.tobytes() for f in frames]
    assert arrived["fps"] == 2.0


def test_only_the_latest_files_are_kept_and_others_are_closed(picture):
    before = len(os.listdir("/proc/self/fd"))
    files = wire.Files(100)
    for number in range(20):
        files.unpack(asked({"type": "image", "image": bytes([number]) * 60}))
    assert len(os.listdir("/proc/self/fd")) - before == 1


def test_text_stays_text():
    messages = [{"role": "system", "content": "Be brief."}, *asked({"type": "text", "text": "Hello"})]
    assert wire.Files(10).unpack(wire.pack(messages))[0]["content"] == [{"type": "text", "text": "Be brief."}]


def test_a_file_that_is_gone_is_a_plain_sentence_without_a_path(tmp_path):
    with pytest.raises(MediaError, match="no longer there") as caught:
        wire.pack(asked({"type": "image", "image": str(tmp_path / "gone.png")}))
    assert str(tmp_path) not in str(caught.value)


def test_more_than_may_cross_is_refused(monkeypatch):
    monkeypatch.setattr(wire, "MAX_BYTES", 100)
    with pytest.raises(SessionError, match="together"):
        wire.pack(asked(*[{"type": "image", "image": b"x" * 60}] * 2))


def test_a_conversation_is_the_same_one_on_every_turn(picture):
    image = {"type": "image", "image": str(picture)}
    first = asked(image, {"type": "text", "text": "What is it?"})
    later = [*first, {"role": "assistant", "content": "A square."}, *asked({"type": "text", "text": "Sure?"})]
    while_typing, with_system = asked(image), [{"role": "system", "content": "Be brief."}, *first]
    assert len({wire.conversation_of(wire.pack(m)) for m in (first, later, while_typing, with_system)}) == 1


def test_other_questions_are_other_conversations(picture):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "blue").save(buffer, "PNG")
    others = [asked({"type": "image", "image": source}) for source in (str(picture), buffer.getvalue())]
    others += [asked({"type": "text", "text": text}) for text in ("Hello", "Good morning")]
    assert len({wire.conversation_of(wire.pack(m)) for m in others}) == 4
