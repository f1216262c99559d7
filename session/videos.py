"""Videos in: from a file that a stranger chose to a few RGB frames of a bounded size, evenly spaced in time.

Here: containers, limits, what is damaged and can be shown all the same, rotation and the shape of pixels. Not here:
resizing to the model's patches, single pictures (`session.images`), the forms of a source (`session.sources`).
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from PIL import Image

from adapters.qwen_vl import PIXELS_PER_TOKEN
from session.answer import Interrupted
from session.hdr import is_hdr, to_sdr
from session.images import MAX_ASPECT, animation_outline, frames_of_animation, image_size, load_image, within
from session.sources import MediaError, opened

MAX_VIDEO_PIXELS = 36_000_000  # of one frame of a video: 8K
MIN_FRAMES, MAX_FRAMES = 8, 64  # given to the model where a message says nothing else: USUAL_FPS a second within these
# Two frames are encoded together. The more of them there are, the smaller each is, so that a video takes about
# this many visual tokens; but a pair no fewer than 64, so more than 64 frames cost more.
VIDEO_TOKENS, PAIR_TOKENS = 2048, (64, 256)
FRAMES_PIXELS = 128_000_000  # of a video that is given as pictures, together: ten times what the encoder gets
MAX_ASKED_FRAMES = 768  # that a message may ask for, as in qwen-vl-utils
MAX_DECODED = 72_000  # frames read from a file at all: 20 minutes at 60 a second
MAX_DECODED_PIXELS = 72_000 * 1920 * 1080  # the same in Full HD
MAX_DECODING_S = 300.0  # on whatever machine
MAX_BROKEN = 500  # packets in a row that do not decode
KEPT_FRAMES = 448  # besides those that are wanted, at most 7 for each: which are evenly spaced is known at the end
TIMES_ARE_OFF_S = 0.02  # what files state, a little late and early
SECONDS_PER_SEEK = 4.0  # of a video that are worth one search: encoders put a key frame into every one to eight seconds
LAST_FRAME_S = 10.0  # that a last frame may stay on; where a header says that it is longer, it is wrong
MAX_SOUGHT = 10_000  # frames decoded in all searches together; with fewer key frames, decoding all is cheaper
USUAL_FPS = 2.0  # what Qwen2-VL was trained with; for videos without times
ATTACHED_PICTURE = 1024  # FFmpeg's disposition of cover art

# Containers that hold their own data. Playlists (HLS, concat) would open other files and addresses.
_VIDEO_FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,ogg,flv,asf,gif"
_FFMPEG = {"format_whitelist": _VIDEO_FORMATS, "protocol_whitelist": "file"}


@dataclass(frozen=True)
class Video:
    """Frames in time order (RGB, all of one size), and how many of *these* frames make a second."""

    frames: list[Image.Image]
    fps: float


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video are wanted, by qwen-vl-utils' names (https://github.com/QwenLM/Qwen2.5-VL).

    nframes: exactly so many, if there are as many; fps: so many a second, at most max_frames; with neither, USUAL_FPS a
    second, at least MIN_FRAMES and at most max_frames. video_start, video_end: seconds.
    """

    nframes: int | None = None
    fps: float | None = None
    max_frames: int = MAX_FRAMES
    video_start: float = 0.0
    video_end: float = math.inf

    @classmethod
    def of_part(cls, part: dict, max_frames: int = MAX_FRAMES) -> "Sampling":
        """What a message's part says beside its video; max_frames: where it says nothing. Raises MediaError for values
        that are none.
        """
        named = {"max_frames": max_frames}
        stated = {name: part[name] for name in ("nframes", "max_frames") if part.get(name) is not None}
        named |= stated
        for name, value in stated.items():
            if not isinstance(value, int) or not 1 <= value <= MAX_ASKED_FRAMES:
                raise MediaError(f"{name} is {value!r}; it must be a number from 1 to {MAX_ASKED_FRAMES}.")
        for name in ("fps", "video_start", "video_end"):
            if (value := part.get(name)) is not None:
                if not isinstance(value, int | float) or not 0 <= value < math.inf or (name == "fps" and not value):
                    raise MediaError(f"{name} is {value!r}; it must be a number above 0.")
                named[name] = value
        if "fps" in named and "max_frames" not in stated:
            named["max_frames"] = MAX_ASKED_FRAMES
        return cls(**named)

    def count(self, seconds: float) -> int:
        """Frames of a video that lasts so long."""
        if self.nframes:
            return self.nframes
        least, per_second = (1, self.fps) if self.fps else (MIN_FRAMES, USUAL_FPS)
        return min(self.max_frames, max(least, round(per_second * seconds)))

    @property
    def kept(self) -> int:
        """How many frames to keep until it is known which of them are evenly spaced."""
        wanted = self.nframes or self.max_frames
        return wanted + min(7 * wanted, KEPT_FRAMES)


@dataclass(frozen=True)
class Outline:
    """What the header of a video states: seconds, frames in all, how many `load_video` returns, and their size."""

    seconds: float
    frames: int
    wanted: int
    width: int
    height: int


def outline_of(source, sampling: Sampling = Sampling()) -> Outline:
    """Decodes nothing. What a header states may be wrong. Raises MediaError."""
    if animated := animation_outline(source):
        frames, seconds, size = animated
        wanted = min(sampling.count(seconds), frames)
        return Outline(seconds, frames, wanted, *within(*size, frame_pixels(wanted)))
    with _opened_video(opened(source, "video")) as (container, stream):
        seconds = float(_stated_seconds(container, stream))
        frames = stream.frames or round(seconds * float(stream.average_rate or 0)) or MAX_DECODED
        wanted = max(1, min(sampling.count(seconds), frames))
        ratio = float(stream.sample_aspect_ratio or 1)
        return Outline(seconds, frames, wanted, *_shown_size(stream.width, stream.height, ratio, frame_pixels(wanted)))


def load_video(
    source, sampling: Sampling | int = MAX_FRAMES, wanted: Callable[[], bool] = lambda: True
) -> Video:
    """Frames of a video file or an animated picture, evenly spaced in time over its whole length. Raises MediaError.

    source: a path, a file's bytes, an open file, a file:// or data: address. sampling: or simply the most frames.
    wanted: asked before each frame; raises Interrupted once the video is not wanted any more. Memory is bounded by the
    number of frames; time is that of decoding the file once, or, of a long one, of decoding from the key frames before
    those that are wanted. What does not decode is left out; a file of which nothing does is refused.
    """
    sampling = Sampling(max_frames=sampling) if isinstance(sampling, int) else sampling
    file = opened(source, "video")
    if outline := animation_outline(source):
        pixels = frame_pixels(min(outline[0], sampling.count(outline[1])))
        animated = frames_of_animation(source, sampling.kept, pixels, wanted)
        return _video(animated, len(animated), sampling)
    with _opened_video(file) as (container, stream):
        if sought := _sought(container, stream, sampling, wanted):
            return sought
        pixels = frame_pixels(sampling.count(float(_stated_seconds(container, stream))))
        frames = _bounded(_decoded(container, stream, sampling), wanted)
        return _video(*_thinned(frames, sampling.kept, pixels), sampling)


def as_video(frames: Iterable, fps: float) -> Video:
    """A Video of pictures in memory, checked as files are, and of FRAMES_PIXELS in all. Raises MediaError."""
    frames = list(frames)
    pixels = FRAMES_PIXELS // max(1, len(frames))
    images = [_at_most(load_image(frame), pixels) for frame in frames]
    outline_of_frames(images, fps)
    if len({image.size for image in images}) > 1:
        raise MediaError("The frames of a video must all have the same size.")
    return Video(images, fps)


def _at_most(image: Image.Image, pixels: int) -> Image.Image:
    return image if image.width * image.height <= pixels else image.resize(within(*image.size, pixels))


def outline_of_frames(frames: list, fps: float) -> Outline:
    """Of pictures in memory, or files of pictures. Raises MediaError where they make no video."""
    if not frames:
        raise MediaError("This video has no frames.")
    if not isinstance(fps, int | float) or not 0 < fps < math.inf:
        raise MediaError(f"The fps of a video are {fps!r}; they must be a number above 0.")
    return Outline(len(frames) / fps, len(frames), len(frames), *image_size(frames[0]))


def frame_pixels(frames: int) -> int:
    """Of each of so many frames of one file, at most."""
    least, most = PAIR_TOKENS
    return min(most, max(least, VIDEO_TOKENS // math.ceil(frames / 2))) * PIXELS_PER_TOKEN


def is_video(source) -> bool:
    """Whether a file has moving pictures, by what is in it. Never raises, and decodes nothing."""
    with contextlib.suppress(Exception):
        container = av.open(opened(source, "video"), options=_FFMPEG, metadata_errors="replace")
        with container:
            return bool(_moving(container))
    return False


def _moving(container: av.container.InputContainer) -> list[av.VideoStream]:
    """Its streams of moving pictures: cover art is none."""
    return [stream for stream in container.streams.video if not int(stream.disposition) & ATTACHED_PICTURE]


@contextlib.contextmanager
def _opened_video(file) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The container and its stream of moving pictures. Whatever is raised inside becomes a MediaError."""
    try:
        with av.open(file, options=_FFMPEG, metadata_errors="replace") as container:
            yield container, _video_stream(container)
    except (MediaError, Interrupted):
        raise
    except Exception as error:  # FFmpeg's errors, the system's, and what odd values in a file do to PyAV
        raise MediaError("This video is damaged, or of a kind that cannot be read. Try an MP4.") from error


def _video_stream(container: av.container.InputContainer) -> av.VideoStream:
    if not _moving(container):
        raise MediaError("This file has no moving pictures in it.")
    stream = _moving(container)[0]
    _check_size(stream.width, stream.height)
    stream.codec_context.options = {"max_pixels": str(MAX_VIDEO_PIXELS)}  # where the header states less than is there
    stream.thread_type = "AUTO"
    return stream


def _decoded(container, stream, sampling: Sampling) -> Iterator[tuple[float | None, av.VideoFrame]]:
    """(seconds, frame) between the wanted times. Packets that are damaged are left out."""
    if sampling.video_start:
        with contextlib.suppress(av.FFmpegError):
            container.seek(int(sampling.video_start * av.time_base))
    broken = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
            broken = 0
        except av.FFmpegError:
            broken += 1
            if broken > MAX_BROKEN:
                raise
            continue
        for frame in frames:
            if frame.time is not None and frame.time < sampling.video_start:
                continue
            if frame.time is not None and frame.time > sampling.video_end:
                return
            yield frame.time, frame


def _bounded(frames: Iterable, wanted: Callable[[], bool]) -> Iterator[tuple[float | None, av.VideoFrame]]:
    """`frames` as long as they are wanted, within what may be decoded of one file: frames, pixels, and time."""
    began, pixels = time.monotonic(), 0
    for number, (at, frame) in enumerate(frames):
        if not wanted():
            raise Interrupted
        pixels += frame.width * frame.height
        if number >= MAX_DECODED or pixels > MAX_DECODED_PIXELS or time.monotonic() - began > MAX_DECODING_S:
            raise MediaError(f"This video is too long: after {number} frames reading it was given up. Please cut it.")
        yield at, frame


def _stated_seconds(container, stream) -> float:
    return stream.duration * stream.time_base if stream.duration else (container.duration or 0) / av.time_base


def _sought(container, stream, sampling: Sampling, wanted: Callable[[], bool]) -> Video | None:
    """What is seen at the moments that are wanted of a long video, each found from the key frame before it. None, and
    the file is at its beginning, where that would cost as much as decoding all, or where it lies about its length.
    """
    begin = max(sampling.video_start, float((stream.start_time or 0) * stream.time_base))
    end = min(sampling.video_end, begin + float(_stated_seconds(container, stream)))
    count = sampling.count(end - begin)
    if not 1 < count < (end - begin) / SECONDS_PER_SEEK:
        return None
    moments = np.linspace(begin, end, count)
    found: list[tuple[float, Image.Image]] = []
    with contextlib.suppress(av.FFmpegError):
        found = list(_at_moments(container, stream, moments, wanted, frame_pixels(count)))
    if len(found) == count and end - found[-1][0] < LAST_FRAME_S:
        size = found[0][1].size  # a stream may change its size on the way
        return Video([image.resize(size) for _, image in found], float((count - 1) / (end - begin)))
    container.seek(0)
    return None


def _at_moments(
    container, stream, moments: np.ndarray, wanted: Callable[[], bool], pixels: int
) -> Iterator[tuple[float, Image.Image]]:
    """(seconds, picture) of what is seen at each moment, until there is nothing, or MAX_SOUGHT frames were decoded."""
    decoded = 0
    for moment in moments:
        container.seek(int(moment / stream.time_base), stream=stream)
        latest = None
        for frame in container.decode(stream):
            decoded += 1
            if not wanted():
                raise Interrupted
            if frame.time is None or (latest and frame.time > moment) or decoded > MAX_SOUGHT:
                break
            latest = frame
        if latest is None or decoded > MAX_SOUGHT:
            return
        yield latest.time, _small(latest, pixels)


def _thinned(
    frames: Iterable[tuple[float | None, av.VideoFrame]], limit: int, pixels: int
) -> tuple[list[tuple[float, Image.Image]], int]:
    """About `limit` frames with their times, and how many there were in all.

    Where there are too many, time is cut into spans, and of each the last frame is kept, which is the one that stays
    on: so memory is bounded without believing the length that the file states, and a second with many frames counts no
    more than one with few. Only what is kept becomes pixels, at most `pixels` a frame.
    """
    kept: list[tuple[float, Image.Image]] = []
    span, total = 0.0, 0
    latest: tuple[float, av.VideoFrame] | None = None
    for stated, frame in frames:
        at = total / USUAL_FPS if stated is None else stated
        total += 1
        if latest and (len(kept) == 0 or not span or latest[0] // span != at // span):
            kept.append((latest[0], _small(latest[1], pixels)))
        latest = at, frame
        if len(kept) > limit:
            span = max(2 * span, 2 * (kept[-1][0] - kept[0][0]) / limit)
            by_span = {at // span: (at, image) for at, image in kept[1:]} if span else {}
            kept = [kept[0], *by_span.values()]
    if latest:
        kept.append((latest[0], _small(latest[1], pixels)))
    return kept, total


def _video(frames: list[tuple[float, Image.Image]], total: int, sampling: Sampling) -> Video:
    """Of frames with their times, what is seen at evenly spaced moments: the same frame again where it lasts.

    total: how many frames there were before some were left out.
    """
    if not frames:
        raise MediaError("This video has no frames that can be read.")
    first, seconds = frames[0][0], frames[-1][0] - frames[0][0]
    count = min(sampling.count(seconds), total)
    step = seconds / max(1, count - 1)
    seen, index = [], 0
    for number in range(count):
        moment = first + number * step + min(step / 4, TIMES_ARE_OFF_S)
        while index + 1 < len(frames) and frames[index + 1][0] <= moment:
            index += 1
        seen.append(frames[index][1])
    size = within(*seen[0].size, frame_pixels(count))  # a stream may change its size on the way
    return Video([image.resize(size) for image in seen], 1 / step if step else USUAL_FPS)


def _small(frame: av.VideoFrame, pixels: int) -> Image.Image:
    """One frame straight to at most `pixels`, as wide as it is shown, turned as the camera was held."""
    _check_size(frame.width, frame.height)
    ratio = float(frame.sample_aspect_ratio or 1) if hasattr(frame, "sample_aspect_ratio") else 1.0
    width, height = _shown_size(frame.width, frame.height, ratio, pixels)
    image = to_sdr(frame, width, height) if is_hdr(frame) else frame.to_image(width=width, height=height)
    return image.rotate(frame.rotation, expand=True)


def _shown_size(width: int, height: int, ratio: float, pixels: int) -> tuple[int, int]:
    """Of a frame whose pixels are `ratio` times as wide as high."""
    return within(width * (ratio if 1 / 8 < ratio < 8 else 1), height, pixels)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_VIDEO_PIXELS:
        most = f"at most {MAX_VIDEO_PIXELS // 1_000_000} million pixels can be read"
        raise MediaError(f"This video is too large: {most}. It has {width} × {height}.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise MediaError(f"This video is too narrow: {width} × {height}. Please crop it.")
