"""Videos in: from a file that a stranger chose to a few RGB frames of a bounded size, evenly spaced in time.

Here: containers, limits, what is damaged and can be shown all the same, rotation and the shape of pixels. Not here:
which frames are wanted (`session.video_sampling`), resizing to the model's patches, single pictures
(`session.images`), the forms of a source (`session.sources`).
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import av
import numpy as np
from PIL import Image

from session.answer import Interrupted
from session.hdr import is_hdr, to_sdr
from session.images import (
    MAX_ASPECT,
    frames_of_animation,
    image_size,
    load_image,
    opened_animation,
    stated_of_animation,
    within,
)
from session.sources import MediaError, opened
from session.video_sampling import (
    LAST_FRAME_S,
    MAX_FRAMES,
    USUAL_FPS,
    USUAL_SAMPLING,
    Moments,
    Sampling,
    Stated,
    Video,
    evenly_spaced,
    frame_pixels,
    moments_of,
)

MAX_VIDEO_PIXELS = 36_000_000  # of one frame of a video: 8K
FRAMES_PIXELS = 128_000_000  # of a video that is given as pictures, together: ten times what the encoder gets
MAX_DECODED = 72_000  # frames read from a file at all: 20 minutes at 60 a second
MAX_DECODED_PIXELS = 72_000 * 1920 * 1080  # the same in Full HD
MAX_DECODING_S = 300.0  # on whatever machine
MAX_BROKEN = 500  # packets in a row that do not decode
SECONDS_PER_SEEK = 4.0  # of a video that are worth one search: encoders put a key frame into every one to eight seconds
MAX_SOUGHT = 10_000  # frames decoded in all searches together; with fewer key frames, decoding all is cheaper
SEEK_MARGIN_S = 10.0  # where a container has no index (MPEG-TS), a search ends anywhere, and not at a key frame
ATTACHED_PICTURE = 1024  # FFmpeg's disposition of cover art

# Containers that hold their own data. Playlists (HLS, concat) would open other files and addresses.
_VIDEO_FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,ogg,flv,asf,gif"
_FFMPEG = {"format_whitelist": _VIDEO_FORMATS, "protocol_whitelist": "file"}


@dataclass(frozen=True)
class Outline:
    """What the header of a video states: seconds and frames in all; the moments of which `load_video` returns frames,
    and their size, before they are turned as the camera was held: that is known with a frame alone.
    """

    seconds: float
    frames: int
    moments: Moments
    width: int
    height: int


def outline_of(source, sampling: Sampling = USUAL_SAMPLING) -> Outline:
    """Decodes nothing. What a header states may be wrong. Raises MediaError."""
    with opened_animation(source) as image:
        if image:
            return _outline_of_animation(image, sampling)
    with _opened_video(opened(source, "video")) as (container, stream):
        stated = _stated(container, stream)
        moments = moments_of(stated, sampling)
        size = _shown_size(stream, stream.width, stream.height, frame_pixels(moments.count))
        return Outline(stated.seconds, stated.frames, moments, *size)


def load_video(
    source, sampling: Sampling | int = MAX_FRAMES, wanted: Callable[[], bool] = lambda: True
) -> Video:
    """Frames of a video file or an animated picture, evenly spaced in time over its whole length. Raises MediaError.

    source: a path, a file's bytes, an open file, a file:// or data: address. sampling: or simply the most frames.
    wanted: asked before each frame; raises Interrupted once the video is not wanted any more. Memory is bounded by the
    number of frames; time is that of decoding the file once, or, of a long one, of decoding from the key frames before
    those that are wanted. What does not decode is left out; a file of which nothing does is refused. As many frames as
    `outline_of` states, of that size, unless its header is wrong about its length.
    """
    sampling = Sampling(max_frames=sampling) if isinstance(sampling, int) else sampling
    with opened_animation(source) as image:
        if image:
            return _load_animation(image, sampling, wanted)
    with _opened_video(opened(source, "video")) as (container, stream):
        stated = _stated(container, stream)
        moments = moments_of(stated, sampling)
        pixels = frame_pixels(moments.count)
        if sought := _sought(container, stream, moments, wanted):
            return sought
        part = stated.first + sampling.video_start, stated.first + sampling.video_end
        frames = _bounded(_decoded(container, stream, *part), wanted)
        return evenly_spaced(*_thinned(frames, sampling.kept, stream, pixels), sampling, moments)


def _outline_of_animation(image: Image.Image, sampling: Sampling) -> Outline:
    frames, seconds = stated_of_animation(image)
    moments = moments_of(Stated(0.0, seconds, frames), sampling)
    return Outline(seconds, frames, moments, *within(*image.size, frame_pixels(moments.count)))


def _load_animation(image: Image.Image, sampling: Sampling, wanted: Callable[[], bool]) -> Video:
    stated = _outline_of_animation(image, sampling).moments
    part = sampling.video_start, sampling.video_end
    frames = frames_of_animation(image, part, sampling.kept, frame_pixels(stated.count), wanted)
    ends = replace(stated, end=frames[-1][0])  # each frame has a length of its own, that of the first alone is stated
    return evenly_spaced(frames, len(frames), sampling, ends)


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
    moments = Moments(0.0, (len(frames) - 1) / fps, len(frames))
    size = within(*image_size(frames[0]), FRAMES_PIXELS // len(frames))
    return Outline(len(frames) / fps, len(frames), moments, *size)


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


def _decoded(container, stream, begin: float, end: float) -> Iterator[tuple[float | None, av.VideoFrame]]:
    """(seconds, frame) from `begin` to `end`; where no frame begins between them, the one that is seen there. Packets
    that are damaged are left out.
    """
    if begin > (stream.start_time or 0) * stream.time_base + SEEK_MARGIN_S:
        with contextlib.suppress(av.FFmpegError):
            container.seek(int((begin - SEEK_MARGIN_S) * av.time_base))
    before = None
    for frame in _all_decoded(container, stream):
        if frame.time is not None and frame.time > end:
            break
        if frame.time is not None and frame.time < begin:
            before = frame
            continue
        before = None
        yield frame.time, frame
    if before:
        yield before.time, before


def _all_decoded(container, stream) -> Iterator[av.VideoFrame]:
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
        yield from frames


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


def _stated(container, stream) -> Stated:
    """By the header; where it states no length (browsers' recordings), by the packets, and the file is at its beginning
    again.
    """
    first = float((stream.start_time or 0) * stream.time_base)
    seconds = float(stream.duration * stream.time_base if stream.duration else (container.duration or 0) / av.time_base)
    frames = stream.frames or round(seconds * float(stream.average_rate or 0))
    if seconds > 0:
        return Stated(first, seconds, frames or MAX_DECODED)
    times = [float(packet.pts * stream.time_base) for packet in container.demux(stream) if packet.pts is not None]
    container.seek(0)
    if len(times) < 2:
        return Stated(first, 0.0, 1)
    length = max(times) - min(times)
    return Stated(min(times), length + length / (len(times) - 1), len(times))


def _sought(container, stream, moments: Moments, wanted: Callable[[], bool]) -> Video | None:
    """What is seen at the moments that are wanted of a long video, each found from the key frame before it. None, and
    the file is at its beginning, where that would cost as much as decoding all, or where it lies about its length.
    """
    if not 1 < moments.count < (moments.end - moments.begin) / SECONDS_PER_SEEK:
        return None
    found: list[tuple[float, Image.Image]] = []
    with contextlib.suppress(av.FFmpegError):
        found = list(_at_moments(container, stream, moments, wanted))
    if len(found) == moments.count and moments.end - found[-1][0] < LAST_FRAME_S:
        size = found[0][1].size  # a stream may change its size on the way
        return Video([image.resize(size) for _, image in found], moments.fps)
    container.seek(0)
    return None


def _at_moments(
    container, stream, moments: Moments, wanted: Callable[[], bool]
) -> Iterator[tuple[float, Image.Image]]:
    """(seconds, picture) of what is seen at each moment, until there is nothing, or MAX_SOUGHT frames were decoded."""
    decoded = 0
    for moment in np.linspace(moments.begin, moments.end, moments.count):
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
        yield latest.time, _small(latest, stream, frame_pixels(moments.count))


def _thinned(
    frames: Iterable[tuple[float | None, av.VideoFrame]], limit: int, stream: av.VideoStream, pixels: int
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
            kept.append((latest[0], _small(latest[1], stream, pixels)))
        latest = at, frame
        if len(kept) > limit:
            span = max(2 * span, 2 * (kept[-1][0] - kept[0][0]) / limit)
            by_span = {at // span: (at, image) for at, image in kept[1:]} if span else {}
            kept = [kept[0], *by_span.values()]
    if latest:
        kept.append((latest[0], _small(latest[1], stream, pixels)))
    return kept, total


def _small(frame: av.VideoFrame, stream: av.VideoStream, pixels: int) -> Image.Image:
    """One frame straight to at most `pixels`, as wide as it is shown, turned as the camera was held."""
    _check_size(frame.width, frame.height)
    width, height = _shown_size(stream, frame.width, frame.height, pixels)
    image = to_sdr(frame, width, height) if is_hdr(frame) else frame.to_image(width=width, height=height)
    return image.rotate(90 * round(frame.rotation / 90), expand=True)


def _shown_size(stream: av.VideoStream, width: int, height: int, pixels: int) -> tuple[int, int]:
    """Of a frame whose pixels may be wider than high, or higher than wide."""
    ratio = float(stream.sample_aspect_ratio or 1)
    return within(width * (ratio if 1 / 8 < ratio < 8 else 1), height, pixels)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_VIDEO_PIXELS:
        most = f"at most {MAX_VIDEO_PIXELS // 1_000_000} million pixels can be read"
        raise MediaError(f"This video is too large: {most}. It has {width} × {height}.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise MediaError(f"This video is too narrow: {width} × {height}. Please crop it.")
