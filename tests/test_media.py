"""session.media: every kind of file that people have, and every kind that harms, ends in pixels or in a MediaError."""

import base64
import contextlib
import io
import socket
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from session import images, media, video_sampling, videos
from session.images import CUT_OFF
from session.media import MediaError, Sampling, as_video, kind_of, load_image, load_video
from tests.fake_model import fake_processor

RED = (255, 0, 0)


# ---- pictures that work ---------------------------------------------------------------------------------------------

def half_and_half(size=(40, 20)) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", size, "red")
    image.paste("blue", (size[0] // 2, 0, *size))
    return image


def near(colour, other, tolerance=12) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(colour, other, strict=True))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.gif", "a.bmp", "a.tiff", "a.ppm", "a.avif"])
def test_common_formats_open(tmp_path, name):
    half_and_half().save(tmp_path / name)
    image = load_image(tmp_path / name)
    assert (image.mode, image.size) == ("RGB", (40, 20))
    assert near(image.getpixel((5, 10)), RED, 60)


@pytest.mark.parametrize(("mode", "name"), [
    ("CMYK", "a.jpg"), ("CMYK", "a.tiff"), ("P", "a.png"), ("P", "a.gif"), ("RGBA", "a.png"), ("YCbCr", "a.jpg"),
])
def test_red_stays_red_in_every_colour_mode(tmp_path, mode, name):
    Image.new("RGB", (30, 30), RED).convert(mode).save(tmp_path / name)
    image = load_image(tmp_path / name)
    assert image.mode == "RGB"
    assert near(image.getpixel((15, 15)), RED)


@pytest.mark.parametrize(("mode", "grey", "expected"), [
    ("1", 1, 255), ("L", 100, 100), ("I;16", 100 * 257, 100), ("I;16", 65535, 255), ("F", 0.0, 0),
])
def test_grey_of_every_depth_keeps_its_brightness(tmp_path, mode, grey, expected):
    name = "a.tiff" if mode == "F" else "a.png"
    Image.new(mode, (8, 8), grey).save(tmp_path / name)
    assert load_image(tmp_path / name).getpixel((4, 4)) == (expected,) * 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_becomes_white(mode):
    assert load_image(Image.new("RGBA", (8, 8), (0, 0, 0, 0)).convert(mode)).getpixel((0, 0)) == (255, 255, 255)


def test_a_transparent_palette_entry_becomes_white(tmp_path):
    Image.new("P", (8, 8), 0).save(tmp_path / "a.png", transparency=0)
    assert load_image(tmp_path / "a.png").getpixel((0, 0)) == (255, 255, 255)


def test_a_picture_taken_sideways_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90° clockwise
    half_and_half().save(tmp_path / "a.jpg", exif=exif, quality=95)
    image = load_image(tmp_path / "a.jpg")
    assert image.size == (20, 40)
    assert near(image.getpixel((10, 5)), RED, 60)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 3), (3, 3), (10, 1000), (1000, 10), (1, 200)])
def test_odd_sizes_go_all_the_way_through_the_processor(size):
    pixels = fake_processor().image_processor(images=[load_image(Image.new("RGB", size))], return_tensors="pt",
                                              input_data_format="channels_first")
    assert pixels["image_grid_thw"].prod() == len(pixels["pixel_values"]) > 0


def test_a_picture_in_memory_is_treated_as_a_file_is():
    assert load_image(half_and_half().convert("CMYK")).mode == "RGB"


# ---- pictures as phones, cameras, scanners and programs make them ----------------------------------------------------

def broken_exif(kind: str) -> bytes:
    buffer = io.BytesIO()
    half_and_half().save(buffer, kind, exif=b"Exif\0\0b'Exif'", **({"dpi": (72, 72)} if kind == "JPEG" else {}))
    return buffer.getvalue()


def png_with(**texts) -> bytes:
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_text(name.replace("_", " "), text, zip=True)
    half_and_half().save(buffer := io.BytesIO(), "PNG", pnginfo=info)
    return buffer.getvalue()


def test_heic_of_a_phone_opens(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(half_and_half((64, 32))).save(tmp_path / "IMG_0001")  # its name has no ending
    image = load_image(tmp_path / "IMG_0001")
    assert image.size == (64, 32) and near(image.getpixel((5, 10)), RED, 60)
    assert kind_of(tmp_path / "IMG_0001") == "image"


def test_heic_without_its_package_says_what_to_do_on_the_phone(monkeypatch):
    monkeypatch.setattr("session.images._has_heif", lambda: False)
    with pytest.raises(MediaError, match="Most Compatible"):
        load_image(b"\0\0\0\x18ftypheic" + bytes(100))


@pytest.mark.parametrize("content", [
    pytest.param(broken_exif("JPEG"), id="exif-jpeg"), pytest.param(broken_exif("PNG"), id="exif-png"),
    pytest.param(broken_exif("WEBP"), id="exif-webp"), pytest.param(png_with(workflow="x" * 2_000_000), id="text"),
    pytest.param(png_with(Raw_profile_type_exif="no hex at all"), id="raw-profile"),
])  # fmt: skip
def test_what_stands_beside_the_pixels_does_no_harm(content):
    image = load_image(content)
    assert image.size == (40, 20) and near(image.getpixel((5, 10)), RED, 60)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_a_damaged_picture_of_a_phone_is_not_taken_for_a_video(kind):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    content = encoded(NOISE, kind)[:400]
    assert kind_of(content) == "image"
    with pytest.raises(MediaError, match="picture is damaged"):
        load_image(content)


def test_a_picture_that_lacks_its_last_bytes_is_shown_with_a_note():
    notes: list[str] = []
    image = load_image(encoded(half_and_half((400, 300)), "JPEG")[:-200], notes)
    assert near(image.getpixel((20, 10)), RED, 60)
    assert notes == [CUT_OFF]


def test_108_megapixels_of_a_phone_open_small(tmp_path):
    Image.new("RGB", (12_000, 9_000), "red").save(tmp_path / "a.jpg", quality=30)
    image = load_image(tmp_path / "a.jpg")
    assert image.width * image.height <= 4 * images.NEEDED_PIXELS and image.width / image.height == 12 / 9
    assert near(image.getpixel((9, 9)), RED, 60)


def test_12_bits_in_a_file_of_16_are_not_black():
    grey = np.linspace(0, 4095, 64, dtype=np.uint16)[None, :].repeat(8, 0)
    image = load_image(encoded(Image.fromarray(grey), "PNG"))
    assert image.getpixel((63, 0))[0] == 255 and 110 < image.getpixel((32, 0))[0] < 140


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_is_seen_as_a_video(kind):
    frames = [Image.new("RGB", (40, 20), (255 * i // 9, 0, 0)) for i in range(10)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=100)
    assert kind_of(buffer.getvalue()) == "video"
    video = load_video(buffer.getvalue(), 4)
    reds = [frame.getpixel((5, 5))[0] for frame in video.frames]
    assert len(reds) == 4 and reds == sorted(reds) and reds[-1] - reds[0] > 150


def test_a_still_of_one_frame_is_a_picture():
    assert kind_of(encoded(half_and_half(), "GIF")) == kind_of(encoded(half_and_half(), "WEBP")) == "image"


@pytest.mark.parametrize("form", ["file", "data", "data without type", "bytearray", "file object", "array"])
def test_every_form_of_a_source_opens(tmp_path, form):
    content = encoded(half_and_half(), "PNG")
    (tmp_path / "a b.png").write_bytes(content)
    source = {
        "file": (tmp_path / "a b.png").as_uri(), "data": f"data:image/png;base64,{base64.b64encode(content).decode()}",
        "data without type": f"data:image;base64,{base64.b64encode(content).decode().rstrip('=')}",
        "bytearray": bytearray(content), "file object": io.BytesIO(content), "array": np.asarray(half_and_half()),
    }[form]  # fmt: skip
    assert near(load_image(source).getpixel((5, 10)), RED)


@pytest.mark.parametrize("load", [load_image, load_video])
def test_addresses_of_the_web_are_refused_with_that_reason(load):
    with pytest.raises(MediaError, match="nothing is fetched"):
        load("https://example.com/cat.jpg")


# ---- pictures that do not -------------------------------------------------------------------------------------------

def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that states its size and ends there: opening it shows what is decided from the header alone."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(
        b"IDAT", b"")


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8))

@pytest.mark.parametrize(("content", "says"), [
    pytest.param(b"", "picture is an empty file", id="empty"),
    pytest.param(b"Dear model, please describe this letter.", "not a picture", id="text"),
    pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://x/'/></svg>", "not a picture", id="svg"),
    pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture", id="eps"),
    pytest.param(encoded(NOISE, "JPEG")[:300], "damaged", id="jpeg-without-pixels"),
    pytest.param(encoded(NOISE, "PNG")[:60], "damaged", id="png-without-pixels"),
    pytest.param(png_header(30_000, 30_000), "too large", id="30000x30000"),
    pytest.param(png_header(9_000, 9_000), "too large: at most 64 million pixels can be read. It has 9000 × 9000",
                 id="9000x9000"),
    pytest.param(png_header(1, 1000), "too narrow: 1 × 1000", id="1x1000"),
])
def test_a_bad_picture_is_refused_in_a_plain_sentence(tmp_path, content, says):
    path = tmp_path / "holiday.png"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=says) as refusal:
        load_image(path)
    assert "holiday" not in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)


def test_the_bytes_of_a_file_are_as_good_as_its_path(tmp_path):
    half_and_half().save(tmp_path / "a.png")
    assert load_image((tmp_path / "a.png").read_bytes()).tobytes() == half_and_half().tobytes()
    path = write_video(tmp_path / "a.mp4", brightening(6))
    frames, same = load_video(path).frames, load_video(Path(path).read_bytes()).frames
    assert [frame.tobytes() for frame in frames] == [frame.tobytes() for frame in same]


@pytest.mark.parametrize("load", [load_image, load_video])
@pytest.mark.parametrize("content", [b"", b"not a picture", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n"])
def test_bytes_of_anything_else_are_refused(load, content):
    with pytest.raises(MediaError):
        load(content)


@pytest.mark.parametrize("load", [load_image, load_video])
@pytest.mark.parametrize("source", ["gone.png", "file:///etc/hostname", "/"])
def test_what_is_no_file_is_refused(load, source):
    with pytest.raises(MediaError) as refusal:
        load(source)
    assert source == "/" or source not in str(refusal.value)


@pytest.mark.parametrize("load", [load_image, load_video])
def test_an_address_is_not_fetched(load):
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(MediaError):
            load(f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4")
        server.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody came
            server.accept()


@given(kind=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"]), data=st.data())
@settings(max_examples=60, deadline=None)
def test_damage_anywhere_gives_pixels_or_a_media_error(tmp_path_factory, kind, data):
    content = bytearray(encoded(NOISE, kind))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    with contextlib.suppress(MediaError):
        assert load_image(path).mode == "RGB"


# ---- videos ---------------------------------------------------------------------------------------------------------

def write_video(path: Path, frames: list[np.ndarray], rate: int = 8, codec: str = "mpeg4") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    return path


def brightening(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Frames from black to white."""
    return [np.full((height, width, 3), round(255 * i / (count - 1)), np.uint8) for i in range(count)]


@pytest.mark.parametrize(("name", "codec"), [
    ("a.mp4", "mpeg4"), ("a.mp4", "libx264"), ("a.webm", "libvpx-vp9"), ("a.mov", "mpeg4"), ("a.mkv", "libx264"),
    ("a.avi", "mpeg4"),
])
def test_a_short_video_gives_every_frame_and_its_rate(tmp_path, name, codec):
    video = load_video(write_video(tmp_path / name, brightening(6), codec=codec))
    assert [frame.size for frame in video.frames] == [(64, 48)] * 6
    assert video.fps == pytest.approx(8, rel=0.05)


@pytest.mark.parametrize("count", [9, 16, 33, 50, 200])
def test_a_long_video_gives_as_many_frames_as_allowed_from_its_whole_length(tmp_path, count):
    video = load_video(write_video(tmp_path / "a.mp4", brightening(count)), 8)
    brightness = [frame.getpixel((5, 5))[0] for frame in video.frames]
    steps = np.diff(brightness)
    assert len(video.frames) == 8
    assert brightness[0] < 5
    assert brightness[-1] > 225
    assert steps.min() > 0
    assert steps.max() < 75  # even would be 36; a video of 9 frames has one step of two frames
    assert video.fps == pytest.approx(7 / ((count - 1) / 8), rel=0.15)


def test_a_video_of_twenty_minutes_costs_what_is_shown_of_it(tmp_path, monkeypatch):
    """It may not be decoded as a whole here; its brightness tells where its frames are from."""
    path = write_video(tmp_path / "a.mp4", brightening(2400, 32, 32), rate=2)
    monkeypatch.setattr(videos, "MAX_DECODED", 100)
    monkeypatch.setattr(videos, "MAX_SOUGHT", 500)
    for sampling, first, last, count in (
        (Sampling(), 0, 255, 64), (Sampling(nframes=8), 0, 255, 8),
        (Sampling(video_start=300, video_end=900), 64, 191, 64),
    ):  # fmt: skip
        video = load_video(path, sampling)
        brightness = [frame.getpixel((5, 5))[0] for frame in video.frames]
        assert len(brightness) == count
        assert (brightness[0], brightness[-1]) == pytest.approx((first, last), abs=4)
        even = (last - first) / (count - 1)
        assert np.diff(brightness) == pytest.approx(np.full(count - 1, even), abs=4)
        assert 1 / video.fps == pytest.approx(even / 255 * 1200, rel=0.03)


def test_a_video_that_lies_about_its_length_is_decoded_as_a_whole(tmp_path):
    """Its header says an hour; a quarter of a minute is there."""
    path = write_video(tmp_path / "a.mkv", brightening(30), rate=2)
    content = path.read_bytes()
    at = content.index(b"\x44\x89\x88") + 3  # Matroska's Duration, a float of eight bytes, in milliseconds
    path.write_bytes(content[:at] + struct.pack(">d", 3_600_000) + content[at + 8 :])
    assert media.inspect(path).seconds == 3600
    brightness = [frame.getpixel((5, 5))[0] for frame in load_video(path).frames]
    assert len(brightness) == 29  # two a second, and one at each end
    assert brightness[-1] > 225
    assert np.diff(brightness).min() > 0


def test_one_frame_is_a_video_too(tmp_path):
    video = load_video(write_video(tmp_path / "a.mp4", brightening(2)[:1]))
    assert (len(video.frames), video.fps) == (1, media.USUAL_FPS)


def test_large_frames_are_kept_small(tmp_path):
    frame = load_video(write_video(tmp_path / "a.mp4", brightening(2, 1280, 720))).frames[0]
    assert frame.width * frame.height <= video_sampling.frame_pixels(8) * 1.01
    assert frame.width / frame.height == pytest.approx(1280 / 720, rel=0.01)


def test_a_video_taken_upright_is_shown_upright(tmp_path):
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:24, :24] = 255  # white at the top left
    path = write_video(tmp_path / "a.mp4", [frame] * 3)
    upright, turned = (struct.pack(">9i", *matrix, 0, 0, 0, 0x40000000) for matrix in
                       [(65536, 0, 0, 0, 65536), (0, 65536, 0, -65536, 0)])  # as phones write it: 90° clockwise
    content = path.read_bytes()
    start = content.index(upright, content.index(b"tkhd"))
    path.write_bytes(content[:start] + turned + content[start + len(turned):])
    image = load_video(path).frames[0]
    assert image.size == (48, 64)
    assert image.getpixel((40, 8))[0] > 200  # now at the top right
    assert image.getpixel((8, 8))[0] < 50


@pytest.mark.parametrize(("degrees", "size"), [(90, (48, 64)), (180, (64, 48)), (3, (64, 48)), (100, (48, 64))])
def test_a_camera_that_was_held_askew_is_turned_by_quarters(tmp_path, degrees, size):
    with av.open(tmp_path / "a.mov", "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(degrees)
        for frame in brightening(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    assert load_video(tmp_path / "a.mov").frames[0].size == size


def test_frames_and_rate_go_through_the_processor_without_being_sampled_again(tmp_path):
    video = load_video(write_video(tmp_path / "a.mp4", brightening(50)))
    grid = fake_processor().video_processor(videos=[video.frames], do_sample_frames=False, return_tensors="pt")
    assert grid["video_grid_thw"][0, 0] == len(video.frames) // 2


def test_frames_are_spaced_in_time_and_not_by_their_number(tmp_path):
    """A screen recording: the first of 61 seconds has many frames, and red; then one blue one stays."""
    path = tmp_path / "a.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        times = [*range(0, 1000, 33), 1000, 61_000]
        for at in times:
            colour = "red" if at < 1000 else "blue"
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 48), colour))
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    video = load_video(path, 8)
    reds = sum(near(frame.getpixel((9, 9)), RED, 60) for frame in video.frames)
    assert len(video.frames) == 8 and reds in (1, 2)
    assert video.fps == pytest.approx(7 / 61, rel=0.05)


def test_damaged_packets_are_left_out(tmp_path):
    path = write_video(tmp_path / "a.mp4", brightening(100), codec="h264")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 60] = bytes(60)
    assert len(load_video(bytes(content), 8).frames) >= 4


def test_options_of_a_part_are_heeded_or_refused(tmp_path):
    path = write_video(tmp_path / "a.mp4", brightening(40))  # five seconds
    assert len(load_video(path, Sampling.of_part({"nframes": 12})).frames) == 12
    assert len(load_video(path, Sampling.of_part({"fps": 2})).frames) in (9, 10)
    assert len(load_video(path, Sampling.of_part({"fps": 2, "max_frames": 4})).frames) == 4
    late = load_video(path, Sampling.of_part({"video_start": 4}))
    assert np.asarray(late.frames[0]).mean() > 0.7 * np.asarray(load_video(path).frames[-1]).mean()
    for part in ({"nframes": 0}, {"fps": -1}, {"max_frames": "8"}, {"video_start": -3}):
        with pytest.raises(MediaError, match=next(iter(part))):
            Sampling.of_part(part)


def test_cover_art_is_no_video(tmp_path):
    with av.open(tmp_path / "song.mp4", "w") as container:
        sound = container.add_stream("aac", rate=8000)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        for packet in cover.encode(av.VideoFrame.from_image(Image.new("RGB", (64, 48), "red"))):
            container.mux(packet)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        for packet in [*sound.encode(silence), *sound.encode()]:
            container.mux(packet)
    with pytest.raises(MediaError, match="no moving pictures"):
        load_video(tmp_path / "song.mp4")


def test_a_playlist_dressed_as_a_video_opens_no_other_file(tmp_path):
    write_video(tmp_path / "secret.ts", brightening(10), rate=25, codec="mpeg2video")
    playlists = {"a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.ts\n#EXT-X-ENDLIST\n",
                 "a.ffconcat": "ffconcat version 1.0\nfile secret.ts\n"}
    for name, content in playlists.items():
        (tmp_path / name).write_text(content)
        with av.open(str(tmp_path / name)) as container:
            assert container.streams.video, "FFmpeg by itself would open the other file"
        with pytest.raises(MediaError):
            load_video(tmp_path / name)


def test_a_file_with_sound_alone_is_refused(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(MediaError, match="no moving pictures"):
        load_video(tmp_path / "a.mp4")


def test_a_video_without_frames_is_refused(tmp_path):
    path = write_video(tmp_path / "a.avi", brightening(4))
    content = path.read_bytes()
    path.write_bytes(content[:content.index(b"movi")] + b"movi")
    with pytest.raises(MediaError, match="no frames"):
        load_video(path)


def test_an_empty_video_is_refused_as_what_it_is(tmp_path):
    (tmp_path / "a.mp4").touch()
    for source in (tmp_path / "a.mp4", b"", io.BytesIO()):
        with pytest.raises(MediaError, match="video is an empty file"):
            load_video(source)


@pytest.mark.parametrize("cut", [100, 0.5])
def test_a_truncated_video_is_refused(tmp_path, cut):
    path = write_video(tmp_path / "holiday.mp4", brightening(30))
    content = path.read_bytes()
    path.write_bytes(content[:int(cut * len(content)) if isinstance(cut, float) else cut])
    with pytest.raises(MediaError, match="damaged") as refusal:
        load_video(path)
    assert "holiday" not in str(refusal.value)


def test_a_text_named_video_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_text("Once upon a time there was no video at all. " * 50)
    with pytest.raises(MediaError, match="damaged, or of a kind that cannot be read"):
        load_video(tmp_path / "a.mp4")


def test_names_in_a_video_that_are_not_text_do_no_harm(tmp_path):
    path = write_video(tmp_path / "a.mp4", brightening(3))
    content = path.read_bytes()
    assert b"VideoHandler" in content
    path.write_bytes(content.replace(b"VideoHandler", b"\x80ideoHandler"))
    assert len(load_video(path).frames) == 3


def test_frames_beyond_the_limits_are_refused(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", brightening(30))
    for limit, value in (("MAX_DECODED", 29), ("MAX_DECODED_PIXELS", 29 * 64 * 48), ("MAX_DECODING_S", -1)):
        with monkeypatch.context() as patch, pytest.raises(MediaError, match=r"too long: after (29|0) frames"):
            patch.setattr(videos, limit, value)
            load_video(path)
    monkeypatch.setattr(videos, "MAX_VIDEO_PIXELS", 64 * 48 - 1)
    with pytest.raises(MediaError, match="too large"):
        load_video(path)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_damage_anywhere_gives_frames_or_a_media_error(tmp_path_factory, data):
    path = write_video(tmp_path_factory.getbasetemp() / "damaged.mp4", brightening(6))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(MediaError):
        assert load_video(path).frames


def test_frames_in_memory_must_be_some_of_one_size_and_have_a_rate():
    assert as_video([half_and_half()] * 3, fps=2.0).fps == 2.0
    with pytest.raises(MediaError, match="no frames"):
        as_video([], fps=2.0)
    with pytest.raises(MediaError, match="same size"):
        as_video([half_and_half(), half_and_half((20, 20))], fps=2.0)
    for fps in (0, -1.0, float("nan"), float("inf"), None, "2"):
        with pytest.raises(MediaError, match="above 0"):
            as_video([half_and_half()], fps=fps)
