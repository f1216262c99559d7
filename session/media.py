"""Pictures and videos in: from a file that a stranger chose to RGB pixels of a bounded size.

Here: opening, limits, orientation, colour. Not here: resizing to the model's patches (its processor does that),
tokens, web pages.

Whatever is wrong with a file ends in a `MediaError`, whose message is a plain sentence that can be shown to a visitor
and never contains a path; the exception it was raised from has the details.
"""

import io
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass

import av
import numpy as np
from PIL import Image, ImageOps

from adapters.qwen_vl import PIXELS_PER_TOKEN

MAX_PIXELS = 64_000_000  # of a picture: more than cameras make, 192 MB as RGB
MAX_VIDEO_PIXELS = 36_000_000  # of one frame of a video: 8K
MAX_ASPECT = 200  # longer side to shorter side; Qwen2-VL's own processor refuses more
MAX_FRAMES = 8  # given to the model, which encodes them in pairs: at most 1024 visual tokens a video
MAX_DECODED = 72_000  # frames read from a file at all: 20 minutes at 60 a second
FRAME_PIXELS = 256 * PIXELS_PER_TOKEN  # frames are kept no larger than this: 256 visual tokens for each pair
USUAL_FPS = 2.0  # what Qwen2-VL was trained with; for videos without times

# Formats that Pillow decodes by itself; HEIC and HEIF need a plugin (pillow-heif) and are not opened. EPS would start
# another program.
_IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
# Containers that hold their own data. Playlists (HLS, concat) would open other files and addresses.
_VIDEO_FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,ogg,flv,asf,gif"
_FFMPEG = {"format_whitelist": _VIDEO_FORMATS, "protocol_whitelist": "file"}


class MediaError(ValueError):
    """A picture or a video that cannot be used."""


@dataclass(frozen=True)
class Video:
    """Frames in time order (RGB, all of one size), and how many of *these* frames make a second."""

    frames: list[Image.Image]
    fps: float


def load_image(source: str | os.PathLike | bytes | Image.Image) -> Image.Image:
    """Open `source` (a path, a file's bytes, or an open picture) as RGB, the right way up, transparency on white.

    The size is checked before any pixel is decoded. Raises MediaError.
    """
    if isinstance(source, Image.Image):
        return _to_rgb(source)
    try:
        with Image.open(_file(source), formats=_IMAGE_FORMATS) as image:
            return _to_rgb(image)
    except MediaError:
        raise
    except FileNotFoundError as error:
        raise MediaError("This picture is no longer there. Please add it again.") from error
    except Image.DecompressionBombError as error:
        raise MediaError(_too_large("picture", MAX_PIXELS)) from error
    except Image.UnidentifiedImageError as error:
        raise MediaError("This file is not a picture that can be opened. Try a JPEG or a PNG.") from error
    except Exception as error:  # on damaged files, Pillow's decoders raise a dozen unrelated types
        raise MediaError("This picture is damaged or incomplete. Please save it again, or try another.") from error


def load_video(source: str | os.PathLike | bytes, max_frames: int = MAX_FRAMES) -> Video:
    """Read up to `max_frames` frames of a video file (its path or its bytes), evenly spaced over its whole length.

    Memory is bounded by `max_frames`; time is that of decoding the file once. Raises MediaError.
    """
    try:
        with av.open(_file(source), options=_FFMPEG, metadata_errors="replace") as container:
            return _sample(container, max_frames)
    except MediaError:
        raise
    except FileNotFoundError as error:
        raise MediaError("This video is no longer there. Please add it again.") from error
    except Exception as error:  # FFmpeg's errors, the system's, and what odd values in a file do to PyAV
        raise MediaError("This video is damaged, or of a kind that cannot be read. Try an MP4.") from error


def as_video(frames: Iterable[Image.Image], fps: float) -> Video:
    """A Video of pictures in memory, checked as files are. Raises MediaError."""
    images = [load_image(frame) for frame in frames]
    if not images:
        raise MediaError("This video has no frames.")
    if len({image.size for image in images}) > 1:
        raise MediaError("The frames of a video must all have the same size.")
    if not isinstance(fps, int | float) or not 0 < fps < math.inf:
        raise MediaError(f"The fps of a video are {fps!r}; they must be a number above 0.")
    return Video(images, fps)


def _file(source: str | os.PathLike | bytes) -> str | io.BytesIO:
    return io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source)


def _check_size(width: int, height: int, what: str, limit: int) -> None:
    if width * height > limit:
        raise MediaError(f"{_too_large(what, limit)} It has {width} × {height}.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise MediaError(f"This {what} is too narrow: {width} × {height}. Please crop it.")


def _too_large(what: str, limit: int) -> str:
    return f"This {what} is too large: at most {limit // 1_000_000} million pixels can be read."


def _to_rgb(image: Image.Image) -> Image.Image:
    _check_size(*image.size, "picture", MAX_PIXELS)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale deep greys (16 bits, 32 bits, floats) to 0…255; Pillow's own conversion would clip them to white."""
    grey = np.asarray(image, dtype=np.float32)
    white = 65535.0 if image.mode.startswith("I;16") else max(float(grey.max()), 1.0)
    return Image.fromarray((grey.clip(0, white) * (255 / white)).astype(np.uint8))


def _sample(container: av.container.InputContainer, max_frames: int) -> Video:
    stream = _video_stream(container)
    sampled = _thinned(container.decode(stream), 4 * max_frames)
    if not sampled:
        raise MediaError("This video has no frames that can be read.")
    if len(sampled) > max_frames:
        gap = (len(sampled) - 1) / max(1, max_frames - 1)
        sampled = [sampled[round(i * gap)] for i in range(max_frames)]
    size = sampled[0][1].size  # a stream may change its size on the way
    return Video([image.resize(size) for _, image in sampled], _fps([time for time, _ in sampled]))


def _video_stream(container: av.container.InputContainer) -> av.VideoStream:
    if not container.streams.video:
        raise MediaError("This file has no moving pictures in it.")
    stream = container.streams.video[0]
    _check_size(stream.width, stream.height, "video", MAX_VIDEO_PIXELS)
    stream.codec_context.options = {"max_pixels": str(MAX_VIDEO_PIXELS)}  # where the header states less than is there
    stream.thread_type = "AUTO"
    return stream


def _thinned(frames: Iterable[av.VideoFrame], limit: int) -> list[tuple[float | None, Image.Image]]:
    """Between `limit / 2` and `limit` evenly spaced frames with their times in seconds, or all if there are fewer.

    Each time `limit` frames are there, every second one is dropped, and from then on twice as many are skipped: so
    memory is bounded without believing the length that the file states.
    """
    sampled: list[tuple[float | None, Image.Image]] = []
    step = 1
    for index, frame in enumerate(frames):
        if index >= MAX_DECODED:
            raise MediaError(f"This video is too long: at most {MAX_DECODED} frames can be read. Please cut it.")
        if len(sampled) == limit:
            sampled = sampled[::2]
            step *= 2
        if index % step == 0:
            sampled.append((frame.time, _small(frame)))
    return sampled


def _small(frame: av.VideoFrame) -> Image.Image:
    """Decode one frame straight to at most FRAME_PIXELS, turned as the camera was held."""
    _check_size(frame.width, frame.height, "video", MAX_VIDEO_PIXELS)
    scale = min(1.0, (FRAME_PIXELS / (frame.width * frame.height)) ** 0.5)
    width, height = (max(1, round(side * scale)) for side in (frame.width, frame.height))
    return frame.to_image(width=width, height=height).rotate(frame.rotation, expand=True)


def _fps(times: list[float | None]) -> float:
    first, last = times[0], times[-1]
    if first is None or last is None or last <= first:
        return USUAL_FPS
    return (len(times) - 1) / (last - first)
