"""Which frames of a video the model gets, and how large they are. Known from its header, before one is decoded.

    sampling = Sampling.of_part({"fps": 4})
    moments_of(Stated(first=0, seconds=2, frames=60), sampling)  # Moments(begin=0, end=1.967, count=8)

Here: options of a message, and the rule. `session.videos` asks it when it measures a file and when it reads one, so
that both come to the same frames. Not here: reading files (`session.videos`).
"""

import math
from dataclasses import dataclass

from PIL import Image

from adapters.qwen_vl import PIXELS_PER_TOKEN
from session.images import within
from session.sources import MediaError

MIN_FRAMES, MAX_FRAMES = 8, 64  # given to the model where a message says nothing else: USUAL_FPS a second within these
# Two frames are encoded together. The more of them there are, the smaller each is, so that a video takes about
# this many visual tokens; but a pair no fewer than 64, so more than 64 frames cost more.
VIDEO_TOKENS, PAIR_TOKENS = 2048, (64, 256)
MAX_ASKED_FRAMES = 768  # that a message may ask for, as in qwen-vl-utils
KEPT_FRAMES = 448  # besides those that are wanted, at most 7 for each: which are evenly spaced is known at the end
TIMES_ARE_OFF_S = 0.02  # what files state, a little late and early
LAST_FRAME_S = 10.0  # that a last frame may stay on; where a header says that it is longer, it is wrong
ROUNDING = 0.01  # of a frame
USUAL_FPS = 2.0  # what Qwen2-VL was trained with; for videos without times


@dataclass(frozen=True)
class Video:
    """Frames in time order (RGB, all of one size), and how many of *these* frames make a second."""

    frames: list[Image.Image]
    fps: float


@dataclass(frozen=True)
class Stated:
    """What the header of a video states. first: seconds, when its first frame is shown. seconds: its length. frames: in
    all, 1 at least.
    """

    first: float
    seconds: float
    frames: int


@dataclass(frozen=True)
class Moments:
    """When the wanted frames are seen: `count` (1 at least), evenly spaced from `begin` to `end` (seconds)."""

    begin: float
    end: float
    count: int

    @property
    def fps(self) -> float:
        seconds = self.end - self.begin
        return max(1, self.count - 1) / seconds if seconds else USUAL_FPS


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video are wanted, by qwen-vl-utils' names (https://github.com/QwenLM/Qwen2.5-VL).

    nframes: exactly so many, if there are as many; fps: so many a second, at most max_frames; with neither, USUAL_FPS a
    second, at least MIN_FRAMES and at most max_frames. video_start, video_end: seconds from the video's beginning.
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


USUAL_SAMPLING = Sampling()


def moments_of(stated: Stated, sampling: Sampling) -> Moments:
    """The frames of a whole file, or of the part of it that `sampling` is about: no more than there are if all of them
    last equally long, and one at least. Raises MediaError where that part begins behind the file's end.
    """
    if sampling.video_start > stated.seconds > 0:
        raise MediaError(f"This video ends after {stated.seconds:.1f} s; video_start is {sampling.video_start:g}.")
    each = stated.seconds / stated.frames
    if not each:
        return Moments(stated.first, stated.first, min(sampling.count(0.0), stated.frames))
    last = min(stated.frames - 1, math.floor(min(sampling.video_end, stated.seconds) / each + ROUNDING))
    first = min(last, math.ceil(sampling.video_start / each - ROUNDING))
    there = last - first + 1
    begin, end = (stated.first + number * each for number in (first, last))
    return Moments(begin, end, min(sampling.count(there * each), there))


def frame_pixels(frames: int) -> int:
    """Of each of so many frames of one file, at most."""
    least, most = PAIR_TOKENS
    return min(most, max(least, VIDEO_TOKENS // math.ceil(frames / 2))) * PIXELS_PER_TOKEN


def evenly_spaced(frames: list[tuple[float, Image.Image]], total: int, sampling: Sampling, stated: Moments) -> Video:
    """Of frames with their times, what is seen at evenly spaced moments: the same frame again where it lasts.

    total: how many frames there were before some were left out. stated: the moments by the file's header; where the
    file ends long before or after the last of them, its header is wrong, and what was found counts. Raises MediaError
    where nothing was.
    """
    if not frames:
        raise MediaError("This video has no frames that can be read.")
    first, seconds = frames[0][0], frames[-1][0] - frames[0][0]
    is_as_stated = abs(frames[-1][0] - stated.end) < LAST_FRAME_S
    count = stated.count if is_as_stated else min(sampling.count(seconds), total)
    step = seconds / max(1, count - 1)
    seen, index = [], 0
    for number in range(count):
        moment = first + number * step + min(step / 4, TIMES_ARE_OFF_S)
        while index + 1 < len(frames) and frames[index + 1][0] <= moment:
            index += 1
        seen.append(frames[index][1])
    size = seen[0].size if count <= stated.count else within(*seen[0].size, frame_pixels(count))
    return Video([image.resize(size) for image in seen], 1 / step if step else USUAL_FPS)
