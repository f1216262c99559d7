"""session.video_sampling: which frames of a video are taken, and that measuring a file and reading it agree on them."""

import io
import math
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from adapters.qwen_vl import FAMILIES, PIXELS_PER_TOKEN
from catalog.open import open_model
from session import images, video_sampling, videos
from session.media import MediaError
from session.video_sampling import Sampling
from session.vision_inputs import MediaProcessor, sampling_of
from tests.test_media import brightening, write_video

RATES = (1, 8, 25)
SAMPLINGS = (
    {}, {"nframes": 1}, {"nframes": 5}, {"nframes": 30}, {"max_frames": 3}, {"max_frames": 100}, {"fps": 0.5},
    {"fps": 4}, {"fps": 30}, {"fps": 4, "max_frames": 3}, {"video_end": 0.7}, {"video_start": 0.02, "video_end": 0.9},
)  # fmt: skip


SHORT = [(name, codec, frames) for frames in (1, 3, 12) for name, codec in (
    ("a.mp4", "libx264"), ("a.mkv", "mpeg4"), ("a.webm", "libvpx-vp9"), ("a.avi", "mpeg4"))]  # fmt: skip


@pytest.mark.parametrize(("name", "codec", "frames"), [*SHORT, ("a.ts", "libx264", 12)])
def test_a_short_video_is_measured_as_it_is_read(tmp_path, name, codec, frames):
    for rate in RATES:
        path = write_video(tmp_path / name, brightening(12, 640, 480)[:frames], rate=rate, codec=codec)
        for part in SAMPLINGS:
            for most in (8, 64):
                sampling = Sampling.of_part(part, most)
                outline, video = videos.outline_of(path, sampling), videos.load_video(path, sampling)
                assert len(video.frames) == outline.moments.count, (rate, part)
                assert video.frames[0].size == (outline.width, outline.height), (rate, part)
                assert video.fps == pytest.approx(outline.moments.fps, rel=0.05), (rate, part)


@pytest.mark.parametrize("part", SAMPLINGS, ids=str)
def test_a_short_video_gets_the_visual_tokens_that_were_counted_before(processors, tmp_path, part):
    for frames in (1, 2, 7, 12):
        path = str(write_video(tmp_path / f"{frames}.mp4", brightening(12, 640, 480)[:frames], rate=8))
        for family in processors:
            kept = MediaProcessor(family)
            measured = kept.measure({"type": "video", "video": path, **part})
            made = kept.process({"type": "video", "video": path, **part})
            assert (measured.grid, measured.tokens) == (made.grid, made.tokens), frames
            assert measured.times == pytest.approx(made.times, abs=0.03), frames


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
@pytest.mark.parametrize("frames", [2, 5, 12])
def test_a_short_animation_is_measured_as_it_is_read(kind, frames):
    for duration in (40, 125, 1000):
        pictures = [Image.new("RGB", (640, 480), (20 * number, 0, 0)) for number in range(frames)]
        pictures[0].save(file := io.BytesIO(), kind, save_all=True, append_images=pictures[1:], duration=duration)
        for part in SAMPLINGS:
            sampling = Sampling.of_part(part)
            outline, video = (open_(file.getvalue(), sampling) for open_ in (videos.outline_of, videos.load_video))
            assert len(video.frames) == outline.moments.count, (duration, part)
            assert video.frames[0].size == (outline.width, outline.height), (duration, part)


def test_an_animation_is_opened_once(monkeypatch):
    pictures = [Image.new("RGB", (64, 48), (20 * number, 0, 0)) for number in range(5)]
    pictures[0].save(file := io.BytesIO(), "GIF", save_all=True, append_images=pictures[1:])
    times, real = [], images.opened_image
    monkeypatch.setattr(images, "opened_image", lambda source: times.append(1) or real(source))
    assert len(videos.load_video(file.getvalue()).frames) == 5
    assert len(times) == 1


def test_slides_that_stay_on_for_minutes_are_no_more_frames_than_the_header_states(tmp_path):
    path = tmp_path / "slides.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(brightening(11)):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number * 60_000, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert len(videos.load_video(path).frames) == videos.outline_of(path).moments.count == 11


def test_pixels_that_are_not_square_are_measured_and_shown_as_wide_as_they_are(tmp_path):
    path = tmp_path / "dvd.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 72, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 9)
        for frame in brightening(4, 72, 64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    outline = videos.outline_of(path)
    assert (outline.width, outline.height) == videos.load_video(path).frames[0].size == (128, 64)


def test_a_recording_that_states_no_length_is_measured_by_its_packets(tmp_path):
    """As browsers record: https://bugs.chromium.org/p/chromium/issues/detail?id=642012."""
    path = write_video(tmp_path / "a.webm", brightening(90, 64, 48), rate=5, codec="libvpx-vp9")
    content = path.read_bytes()
    at = content.index(b"\x44\x89\x88")  # Duration, eight bytes
    content = content[:at] + b"\xec\x89" + content[at + 2 :]  # Void, with as many bytes
    with av.open(io.BytesIO(content)) as container:
        assert not container.duration, "the test's file states its length"
    outline, video = videos.outline_of(content), videos.load_video(content)
    assert outline.moments.count == len(video.frames) == 36
    assert np.asarray(video.frames[-1]).mean() > 225


def test_a_part_is_counted_from_the_beginning_where_a_clock_does_not_begin_at_zero(tmp_path):
    path = write_video(tmp_path / "a.ts", brightening(40, 64, 48), rate=10, codec="libx264")  # its first frame: 1.4 s
    for start, end, brightness in ((0.0, 1.0, (0, 64)), (2.0, 3.0, (130, 196)), (3.0, math.inf, (196, 255))):
        sampling = Sampling(video_start=start, video_end=end)
        video = videos.load_video(path, sampling)
        assert len(video.frames) == videos.outline_of(path, sampling).moments.count == 8
        seen = [np.asarray(frame).mean() for frame in video.frames]
        assert (seen[0], seen[-1]) == pytest.approx(brightness, abs=8)


def test_a_part_of_a_video_is_what_is_seen_between_its_times(tmp_path):
    path = write_video(tmp_path / "a.mkv", brightening(4, 64, 48), rate=1)
    for start, end, brightness in ((1.2, 1.8, 85), (0.0, 0.5, 0), (2.5, 2.9, 170)):
        (frame,) = videos.load_video(path, Sampling(video_start=start, video_end=end)).frames
        assert np.asarray(frame).mean() == pytest.approx(brightness, abs=6)
    for open_ in (videos.outline_of, videos.load_video):
        with pytest.raises(MediaError, match=r"ends after 4\.0 s; video_start is 9"):
            open_(path, Sampling(video_start=9))


@pytest.mark.parametrize(("part", "seconds", "frames"), [
    ({}, 1, 8), ({}, 5, 10), ({}, 20, 40), ({}, 60, 64), ({"max_frames": 300}, 200, 300),
    ({"max_frames": 4}, 60, 4), ({"fps": 1}, 3, 3), ({"fps": 4}, 60, 240), ({"nframes": 5}, 60, 5),
])  # fmt: skip
def test_frames_follow_the_length_of_a_video_unless_they_are_asked_for(part, seconds, frames):
    assert Sampling.of_part(part).count(seconds) == frames


def test_a_video_takes_no_more_than_its_budget_whatever_its_length(int4_dir, qwen25_dir, qwen3_dir, tmp_path):
    frames = [np.full((480, 640, 3), number, np.uint8) for number in range(80)]
    for folder, family in ((qwen25_dir, "qwen2_5_vl"), (qwen3_dir, "qwen3_vl")):
        most = 2048 * PIXELS_PER_TOKEN / FAMILIES[family].pixels_per_token
        kept = MediaProcessor(open_model(folder)[1])
        for count, pairs in ((8, 4), (32, 16), (80, 32)):
            part = {"type": "video", "video": str(write_video(tmp_path / "long.mp4", frames[:count], rate=2))}
            item = kept.process(part)
            assert item.grid[0] == pairs
            assert item.grid == kept.measure(part).grid
            assert (pairs / 8 if pairs < 8 else 0.8) * most * 0.9 < item.tokens < 1.1 * most
    _, practice = open_model(int4_dir)
    assert sampling_of(practice, part).count(30) == 8  # which the practice model was trained with


@pytest.mark.parametrize("frames", [3, 8])
def test_a_budget_is_that_of_each_pair_of_frames_in_all_families(processors, frames):
    part = {"type": "video", "video": [Image.new("RGB", (320, 240))] * frames, "fps": 2.0}
    for family in processors:
        time, height, width = MediaProcessor(family).process(part, 20).grid
        assert 12 <= height * width // 4 <= 20 and time == -(-frames // 2)


def test_a_message_that_asks_for_many_frames_keeps_a_bounded_number_in_memory():
    assert Sampling(nframes=768).kept == 768 + video_sampling.KEPT_FRAMES
