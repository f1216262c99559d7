"""What opening a file costs, and when: tokens are counted from headers before any pixel is made, an opening ends when
it is not wanted any more, and two who want the same file at the same time open it once.
"""

import io
import json
import subprocess
import sys
import threading
import time

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chat_session import ChatSession, SessionError
from session import images, media, videos, vision_inputs
from session.answer import Interrupted
from session.documents import load_page, page_size
from session.media import MediaError, inspect
from session.vision_inputs import MediaProcessor
from tests.conftest import ROOT
from tests.test_documents import written
from tests.test_media import brightening, write_video


def png(size=(64, 48), colour="teal", **options) -> bytes:
    Image.new("RGB", size, colour).save(file := io.BytesIO(), "PNG", **options)
    return file.getvalue()


def asked(*parts: dict) -> list[dict]:
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "What is this?"}]}]


# ---- sizes before pixels --------------------------------------------------------------------------------------------


sides = st.integers(1, 2000)


@given(size=st.tuples(sides, sides), most=st.sampled_from([None, 1, 20, 300]), family=st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_a_picture_is_measured_as_its_processor_makes_it(processors, size, most, family):
    if max(size) > 150 * min(size):
        return
    part = {"type": "image", "image": png(size)}
    kept = MediaProcessor(processors[family])
    assert kept.measure(part, most).grid == kept.process(part, most).grid


@given(
    size=st.tuples(st.integers(1, 600), st.integers(1, 600)), frames=st.integers(1, 12),
    most=st.sampled_from([None, 1, 20]), family=st.integers(0, 2),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_frames_are_measured_as_their_processor_makes_them(processors, size, frames, most, family):
    if max(size) > 150 * min(size):
        return
    part = {"type": "video", "video": [Image.new("RGB", size)] * frames, "fps": 4.0}
    kept = MediaProcessor(processors[family])
    measured, made = kept.measure(part, most), kept.process(part, most)
    assert (measured.grid, measured.times) == (made.grid, made.times)


def test_files_are_measured_by_their_headers(processor, tmp_path, monkeypatch):
    photo = Image.new("RGB", (640, 360), "teal")
    exif = photo.getexif()
    exif[images.ORIENTATION] = 6
    photo.save(tmp_path / "upright.jpg", exif=exif)
    parts = [
        {"type": "image", "image": str(tmp_path / "upright.jpg")},
        {"type": "image", "image": written("PDF"), "page": 2},
        {"type": "image", "image": written("TIFF"), "page": 2},
        {"type": "video", "video": str(write_video(tmp_path / "clip.mp4", brightening(24)))},
        {"type": "video", "video": str(write_video(tmp_path / "short.mkv", brightening(3)))},
    ]
    made = [MediaProcessor(processor).process(part).grid for part in parts]
    for name in ("load_image", "load_video", "load_page"):
        monkeypatch.setattr(vision_inputs, name, lambda *_: pytest.fail("opened for its pixels"))
    assert [MediaProcessor(processor).measure(part).grid for part in parts] == made


def test_frames_that_are_made_smaller_are_measured_as_they_are_then(processors, monkeypatch):
    monkeypatch.setattr(videos, "FRAMES_PIXELS", 30_000)
    part = {"type": "video", "video": [Image.new("RGB", (601, 97))] * 4, "fps": 4.0}
    for family in processors:
        kept = MediaProcessor(family)
        assert kept.measure(part).grid == kept.process(part).grid
    outline, video = videos.outline_of_frames(part["video"], 4.0), videos.as_video(part["video"], 4.0)
    assert (outline.width, outline.height) == video.frames[0].size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_picture_that_was_taken_sideways_is_measured_as_it_is_shown(kind, orientation):
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    Image.new("RGB", (60, 20), "teal").save(file := io.BytesIO(), kind, exif=exif.tobytes())
    content = file.getvalue()
    assert images.image_size(content) == media.load_image(content).size
    assert images.image_size(content) == ((20, 60) if orientation > 4 else (60, 20))


@pytest.mark.parametrize(("size", "said"), [((9000, 9000), "too large"), ((10, 3000), "too narrow")])
def test_a_page_that_cannot_be_drawn_is_refused_when_it_is_measured(size, said):
    scan = Image.new("1", size)
    scan.save(file := io.BytesIO(), "TIFF", save_all=True, append_images=[scan], compression="group4")
    for open_ in (page_size, load_page):
        with pytest.raises(MediaError, match=said):
            open_(file.getvalue(), 2)


def test_a_file_says_what_it_is_whatever_it_is_called(tmp_path):
    for name, content, expected in (
        ("a", png((30, 20)), ("image", 30, 20)), ("a.mp4", png((30, 20)), ("image", 30, 20)),
        ("a.png", written("PDF"), ("document",)),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        found = inspect(tmp_path / name)
        assert (found.kind, found.width, found.height)[: len(expected)] == expected
    assert inspect(written("PDF", 3)).pages == 3
    clip = inspect(write_video(tmp_path / "clip.mp4", brightening(24)).rename(tmp_path / "clip"))
    assert (clip.kind, clip.frames, round(clip.seconds, 1)) == ("video", 24, 3.0)
    moving = [Image.new("L", (40, 30), 50 * number) for number in range(5)]
    moving[0].save(tmp_path / "moves.gif", save_all=True, append_images=moving[1:], duration=200)
    assert inspect(tmp_path / "moves.gif") == media.MediaInfo("video", 40, 30, 5, 1.0)
    for nothing, says in ((b"", "empty file"), ("gone.png", "no such picture"), (b"%PDF-1.4", "damaged")):
        with pytest.raises(MediaError, match=says):
            inspect(nothing)


def test_what_cannot_fit_is_refused_before_a_pixel_is_made(ov_model, processor, monkeypatch):
    session = ChatSession(ov_model, processor)
    picture = {"type": "image", "image": png()}
    fits = session.estimate(asked(picture)).visual_tokens
    too_many = [picture] * (session._model.context_length // fits + 1)
    monkeypatch.setattr(vision_inputs, "load_image", lambda *_: pytest.fail("opened for its pixels"))
    for ask in (session.estimate, lambda messages: list(session.stream(messages)), session.prepare):
        with pytest.raises(SessionError, match="too long: at least"):
            ask(asked(*too_many))


MEMORY = """
import io, json, resource, sys
from PIL import Image
from catalog.open import load_processor
from session.prompt import count_visual_tokens
from session.vision_inputs import MediaProcessor, sampling_of
from transformers import AutoConfig

folder, count = sys.argv[1], int(sys.argv[2])
processor = load_processor(folder, AutoConfig.from_pretrained(folder))
Image.new("RGB", (1, 1)).save(file := io.BytesIO(), "PNG")
part = {"type": "image", "image": file.getvalue()}
kept = MediaProcessor(processor, 256 << 20)
kept.measure(part)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tokens = count_visual_tokens([{"role": "user", "content": [part] * count}], kept)
print(json.dumps([tokens, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KB on Linux alone")
def test_counting_four_thousand_pictures_takes_no_memory(int4_dir):
    ran = subprocess.run(
        [sys.executable, "-c", MEMORY, str(int4_dir), "4000"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tokens, grown_kb = json.loads(ran.stdout.splitlines()[-1])
    assert tokens >= 4000 and grown_kb < 20_000


def test_headers_are_read_once_for_each_file(processor, tmp_path, monkeypatch):
    (path := tmp_path / "a.png").write_bytes(png())
    read, real = [], vision_inputs.image_size
    monkeypatch.setattr(vision_inputs, "image_size", lambda source: read.append(source) or real(source))
    kept, part = MediaProcessor(processor), {"type": "image", "image": str(path)}
    assert kept.measure(part).grid == kept.measure(part).grid and len(read) == 1
    path.write_bytes(png((640, 480)))
    assert kept.measure(part).tokens > 0 and len(read) == 2


# ---- openings that end ----------------------------------------------------------------------------------------------


def test_an_opening_ends_when_it_is_not_wanted_any_more(tmp_path):
    path = write_video(tmp_path / "a.mp4", brightening(30))
    looks = iter([True] * 5)
    with pytest.raises(Interrupted):
        videos.load_video(path, wanted=lambda: next(looks, False))
    moving = [Image.new("RGB", (40, 30), (12 * number, 0, 0)) for number in range(20)]
    moving[0].save(tmp_path / "a.webp", save_all=True, append_images=moving[1:], lossless=True)
    looks = iter([True] * 5)
    with pytest.raises(Interrupted):
        videos.load_video(tmp_path / "a.webp", wanted=lambda: next(looks, False))
    assert next(looks, "all were taken") == "all were taken"


@pytest.fixture
def endless(monkeypatch):
    """A video that never ends: the event is set while one is read."""
    reading = threading.Event()

    def frames(*_):
        while True:
            reading.set()
            time.sleep(0.01)
            yield 0.0, type("Frame", (), {"width": 1, "height": 1})

    monkeypatch.setattr(videos, "_decoded", frames)
    monkeypatch.setattr(videos, "_small", lambda *_: Image.new("RGB", (28, 28)))
    yield reading
    assert not [thread for thread in threading.enumerate() if thread.name == "opener"]


def test_stop_ends_an_opening_and_leaves_no_thread(ov_model, processor, tmp_path, endless):
    session = ChatSession(ov_model, processor)
    path = str(write_video(tmp_path / "a.mp4", brightening(8)))
    answer = session.stream(asked({"type": "video", "video": path}))
    thread = threading.Thread(target=list, args=(answer,), name="opener")
    thread.start()
    assert endless.wait(20)
    answer.stop()
    thread.join(1)
    assert not thread.is_alive() and answer.stats.answer_tokens == 0


def test_looking_ahead_that_is_not_wanted_ends_in_the_middle_of_a_file(ov_model, processor, tmp_path, endless):
    session = ChatSession(ov_model, processor)
    path = str(write_video(tmp_path / "a.mp4", brightening(8)))
    session.prepare(asked({"type": "video", "video": path}), wanted=lambda: not endless.is_set())


def test_two_who_open_the_same_file_at_once_open_it_once(processor, tmp_path, monkeypatch):
    path, opened = tmp_path / "a.png", []
    path.write_bytes(png())

    def slowly(source, notes):
        opened.append(source)
        time.sleep(0.2)
        return media.load_image(source, notes)

    monkeypatch.setattr(vision_inputs, "load_image", slowly)
    kept, items = MediaProcessor(processor, 1 << 24), []
    part = {"type": "image", "image": str(path)}
    threads = [threading.Thread(target=lambda: items.append(kept.process(part))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1 and len(set(map(id, items))) == 1
    assert len(kept._locks) == 0


def test_whoever_waits_for_another_opening_can_stop_waiting(processor, tmp_path, monkeypatch):
    (path := tmp_path / "a.png").write_bytes(png())
    begun, go_on = threading.Event(), threading.Event()

    def slowly(source, notes):
        begun.set()
        go_on.wait()
        return media.load_image(source, notes)

    monkeypatch.setattr(vision_inputs, "load_image", slowly)
    kept, part = MediaProcessor(processor, 1 << 24), {"type": "image", "image": str(path)}
    thread = threading.Thread(target=kept.process, args=(part,))
    thread.start()
    assert begun.wait(20)
    with pytest.raises(Interrupted):
        kept.process(part, wanted=lambda: False)
    go_on.set()
    thread.join()


def test_the_same_file_sampled_in_another_way_is_another_item(processor, tmp_path):
    path = str(write_video(tmp_path / "a.mp4", brightening(24)))
    kept = MediaProcessor(processor, 1 << 28)
    grids = [kept.process({"type": "video", "video": path, "nframes": count}).grid[0] for count in (2, 8, 2)]
    assert grids == [1, 4, 1]


def test_arrays_are_measured_too(processor):
    part = {"type": "image", "image": np.zeros((60, 90, 3), np.uint8)}
    assert MediaProcessor(processor).measure(part).grid == MediaProcessor(processor).process(part).grid
