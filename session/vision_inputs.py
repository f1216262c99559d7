"""From the pictures and videos of a message to the patches that the vision encoder takes.

Here: how many visual tokens a picture gets, its vision blocks, and a cache, so that it is not done again for every
question. Not here: opening files (`media`), the budget that models are opened with (`catalog.open`), the encoder
(`ov_model`), tokens of text (`prompt`).
"""

import contextlib
import functools
import hashlib
import math
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np
import torch
from PIL import Image

from adapters.qwen_vl import counts_all_frames, family_of, patch_grid
from session.answer import Interrupted
from session.caches import LRUCache
from session.documents import load_page, page_size
from session.images import image_size
from session.media import MediaError, load_image
from session.video_sampling import MAX_FRAMES, USUAL_FPS, Sampling, Video
from session.videos import as_video, load_video, outline_of, outline_of_frames

# Transformers turns PIL images into tensors (3, height, width), but frames into arrays (height, width, 3). It can tell
# by itself, except where a picture is 1 or 3 pixels high.
_IMAGE_OPTIONS = {"return_tensors": "pt", "input_data_format": "channels_first"}
_VIDEO_OPTIONS = {"return_tensors": "pt", "input_data_format": "channels_last", "do_sample_frames": False}
OPTIONS = (  # of a part, which decide what becomes of its file
    "page", "min_pixels", "max_pixels", "nframes", "fps", "max_frames", "video_start", "video_end",
)  # fmt: skip
MEASURED_BYTES = 24_000  # of grids, of 24 bytes each
MAX_PIXELS_AT_ONCE = 128_000_000  # two of the largest pictures, or ten as phones take them
POLL_S = 0.05  # between two looks whether what another thread makes is still wanted


@dataclass(frozen=True)
class VisionBlock:
    """What goes through the vision encoder in one piece: a picture, or one temporal slice of a video.

    Attention is within a block, so encoding block by block gives the numbers that all of them at once would give.

    patches: (height · width, values). grid: (1, height, width) in patches. digest: the same for the same pixels and
    grid, and only for these. tokens: visual tokens that the language model gets.
    """

    patches: torch.Tensor
    grid: tuple[int, int, int]
    digest: bytes
    tokens: int


@dataclass(frozen=True)
class MediaItem:
    """One picture or video as its processor returned it.

    kind: "image" or "video". inputs: tensors by the model's names for them, (1, …) each. merge_size: patches of one
    side of a visual token. notes: sentences for the reader, such as that the file lacks its end. times: of each pair of
    a video's frames, in seconds from its beginning, halfway between the two.
    """

    kind: str
    inputs: dict[str, torch.Tensor]
    merge_size: int
    notes: tuple[str, ...] = ()
    times: tuple[float, ...] = ()

    @property
    def grid(self) -> tuple[int, int, int]:
        """(time, height, width) in patches, two frames making one step in time."""
        return tuple(self.inputs[f"{self.kind}_grid_thw"][0].tolist())

    @property
    def tokens(self) -> int:
        time, height, width = self.grid
        return time * height * width // self.merge_size**2

    @property
    def seconds(self) -> float | None:
        """Seconds of one step in time, where the model's positions depend on it (Qwen2.5-VL); else None."""
        return self.inputs["second_per_grid_ts"].item() if "second_per_grid_ts" in self.inputs else None

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.inputs.values())

    @functools.cached_property
    def blocks(self) -> list[VisionBlock]:
        time, height, width = self.grid
        patches = self.inputs["pixel_values" if self.kind == "image" else "pixel_values_videos"]
        return [self._block(part, (1, height, width)) for part in patches.chunk(time)]

    def _block(self, patches: torch.Tensor, grid: tuple[int, int, int]) -> VisionBlock:
        digest = hashlib.blake2b(patches.contiguous().numpy(), digest_size=16, salt=repr(grid).encode()[:16])
        return VisionBlock(patches, grid, digest.digest(), len(patches) // self.merge_size**2)


class PixelBudget:
    """How many pixels of pictures may be in memory in full size at once, of all visitors: whoever comes when there is
    no room waits. A pixel takes 15 bytes until it is a patch.
    """

    def __init__(self, most: int):
        self._most = most
        self._taken = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taking(self, pixels: int, wanted: Callable[[], bool]) -> Iterator[None]:
        """Inside, so many are taken. Raises Interrupted once they are not `wanted` any more."""
        pixels = min(pixels, self._most)
        with self._changed:
            while self._taken + pixels > self._most:
                self._changed.wait(POLL_S)
                if not wanted():
                    raise Interrupted
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()


class MediaProcessor:
    """What a Qwen-VL processor makes of pictures and videos. Safe to use from several threads.

    max_bytes: of cached patches, of files (until they change) and of bytes.
    """

    def __init__(self, processor, max_bytes: int = 0):
        self._processor = processor
        self._cache = LRUCache(max_bytes)
        self._measured = LRUCache(MEASURED_BYTES)
        self._opening = PixelBudget(MAX_PIXELS_AT_ONCE)
        self._guard = threading.Lock()  # of what follows
        self._locks: WeakValueDictionary[tuple, threading.Lock] = WeakValueDictionary()  # of what is being processed

    @property
    def bytes(self) -> int:
        """Bytes of the patches that are kept."""
        return self._cache.bytes

    @property
    def visual_token_budget(self) -> tuple[int, int]:
        """The fewest and the most visual tokens that a picture gets if the caller says nothing else."""
        images = self._processor.image_processor
        per_token = _pixels_per_token(images)
        return images.size["shortest_edge"] // per_token, images.size["longest_edge"] // per_token

    def process(
        self,
        part: dict,
        max_visual_tokens: int | None = None,
        owner: str = "",
        wanted: Callable[[], bool] = lambda: True,
    ) -> MediaItem:
        """The media item of an image or video part of a message. Raises MediaError; Interrupted once it is not `wanted`
        any more.

        max_visual_tokens: for a picture, or for each temporal slice of a video; by default as many as the processor is
        set to. owner: the visitor whose kept patches may serve. Of two threads that ask for the same at once, the
        second one waits for what the first one makes.
        """
        key = _key(part, max_visual_tokens, owner)
        if key is None:
            return self._made(part, max_visual_tokens, wanted)
        with self._processing(key, wanted):
            item = self._cache.get(key)
            if item is None:
                item = self._made(part, max_visual_tokens, wanted)
                self._cache.put(key, item)
            return item

    def measure(self, part: dict, max_visual_tokens: int | None = None, owner: str = "") -> MediaItem:
        """As `process`, but without patches, by the file's header: no pixel is made. Of a video, a header can be wrong.
        Raises MediaError.
        """
        key = _key(part, max_visual_tokens, owner)
        known = key and (self._cache.get(key) or self._measured.get(key))
        if known:
            return known
        item = _measured(self._processor, part, max_visual_tokens)
        if key:
            self._measured.put(key, item)
        return item

    def _made(self, part: dict, max_visual_tokens: int | None, wanted: Callable[[], bool]) -> MediaItem:
        make = _process_image if part["type"] == "image" else _process_video
        with self._opening.taking(_pixels_to_open(part), wanted):
            return make(self._processor, part, max_visual_tokens, wanted)

    @contextlib.contextmanager
    def _processing(self, key: tuple, wanted: Callable[[], bool]) -> Iterator[None]:
        """One at a time for each key."""
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        while not lock.acquire(timeout=POLL_S):
            if not wanted():
                raise Interrupted
        try:
            yield
        finally:
            lock.release()


def _key(part: dict, max_visual_tokens: int | None, owner: str) -> tuple | None:
    """The key of what `part` becomes in the cache; None for what is not kept."""
    identity = _identity(part[part["type"]])
    options = tuple((name, part.get(name)) for name in OPTIONS)
    return identity and (owner, part["type"], identity, max_visual_tokens, options)


def _identity(source) -> tuple | None:
    """Cache key: path, size and time of change of a file, or the digest of its bytes; None for pictures in memory."""
    if isinstance(source, bytes):
        return (hashlib.blake2b(source, digest_size=16).digest(),)
    if not isinstance(source, str | os.PathLike):
        return None
    try:
        found = os.stat(source)
    except (OSError, ValueError):  # `media` says in plain words what is wrong
        return None
    return os.fspath(source), found.st_size, found.st_mtime_ns


def _pixels_to_open(part: dict) -> int:
    """About how many are in memory while `part` is processed, by the headers of its files. Raises MediaError."""
    source = part[part["type"]]
    if part["type"] == "video":  # a file's frames are small as soon as they are decoded
        return math.prod(image_size(source[0])) * len(source) if isinstance(source, list | tuple) and source else 0
    if isinstance(source, Image.Image | np.ndarray):
        return 0  # they are there already
    return math.prod(page_size(source, part["page"]) if part.get("page") else image_size(source))


def _pixels_per_token(processor) -> int:
    return (processor.patch_size * processor.merge_size) ** 2


def sampling_of(processor, part: dict) -> Sampling:
    """Which frames are taken of the video of `part`. Raises MediaError."""
    return Sampling.of_part(part, min(MAX_FRAMES, processor.video_processor.max_frames))


def _size_option(processor, part: dict, max_visual_tokens: int | None, frames: int = 1) -> dict:
    """The arguments that keep a picture, or each of `frames`, within its visual tokens, and within the pixels that the
    part itself states, by qwen-vl-utils' names; none where nothing is stated.
    """
    if max_visual_tokens is not None and max_visual_tokens < 1:
        raise MediaError(f"A picture cannot be seen with {max_visual_tokens} visual tokens; it takes one at least.")
    stated = {name: part[name] for name in ("min_pixels", "max_pixels") if part.get(name)}
    if max_visual_tokens is None and not stated:
        return {}
    per_token = _pixels_per_token(processor)
    most = [max_visual_tokens * per_token] if max_visual_tokens else []
    most += [stated["max_pixels"]] if "max_pixels" in stated else []
    largest = max(per_token, min(most or [processor.size["longest_edge"]]))
    smallest = stated.get("min_pixels", processor.size["shortest_edge"])
    smallest = min(largest, smallest)
    if counts_all_frames(processor):
        even = frames + frames % processor.temporal_patch_size
        smallest, largest = smallest * even, largest * even
    option = {"size": {"shortest_edge": smallest, "longest_edge": largest}}
    # A video processor that was loaded with min_pixels and max_pixels goes by those and not by its size.
    if getattr(processor, "min_pixels", None):
        option |= {"min_pixels": smallest, "max_pixels": largest}
    return option


def _measured(processor, part: dict, max_visual_tokens: int | None) -> MediaItem:
    """An item with its grid alone."""
    if part["type"] == "image":
        images, page = processor.image_processor, part.get("page")
        size = page_size(part["image"], page) if page else image_size(part["image"])
        grid = (1, *_grid(images, 1, size, _size_option(images, part, max_visual_tokens)))
        return MediaItem("image", {"image_grid_thw": torch.tensor([grid])}, images.merge_size)
    videos, source = processor.video_processor, part["video"]
    if isinstance(source, list | tuple):
        outline = outline_of_frames(source, part.get("fps", USUAL_FPS))
    else:
        outline = outline_of(source, sampling_of(processor, part))
    count = outline.moments.count
    size = _large_enough(processor, outline.width, outline.height)
    pairs = -(-count // videos.temporal_patch_size)
    grid = (pairs, *_grid(videos, count, size, _size_option(videos, part, max_visual_tokens, count)))
    times = _times_of_pairs(count, outline.moments.fps, videos.temporal_patch_size)
    return MediaItem("video", {"video_grid_thw": torch.tensor([grid])}, videos.merge_size, times=times)


def _grid(processor, frames: int, size: tuple[int, int], option: dict) -> tuple[int, int]:
    """(height, width) in patches of pictures or frames of `size`."""
    sides = option.get("size", processor.size)
    smallest = option.get("min_pixels") or getattr(processor, "min_pixels", None) or sides["shortest_edge"]
    largest = option.get("max_pixels") or getattr(processor, "max_pixels", None) or sides["longest_edge"]
    return patch_grid(processor, frames, *size, smallest, largest)


def _large_enough(processor, width: int, height: int) -> tuple[int, int]:
    """For a frame: as large as its processor takes at least."""
    scale = family_of(processor).smallest_frame_side / min(width, height)
    return (math.ceil(width * scale), math.ceil(height * scale)) if scale > 1 else (width, height)


def _process_image(processor, part: dict, max_visual_tokens: int | None, wanted: Callable[[], bool]) -> MediaItem:
    if not wanted():
        raise Interrupted
    images = processor.image_processor
    size = _size_option(images, part, max_visual_tokens)
    notes: list[str] = [*part.get("notes", ())]
    page = part.get("page")  # of a document
    image = load_page(part["image"], page) if page else load_image(part["image"], notes)
    inputs = images(images=[image], **_IMAGE_OPTIONS, **size)
    return MediaItem("image", dict(inputs), images.merge_size, tuple(notes))


def _process_video(processor, part: dict, max_visual_tokens: int | None, wanted: Callable[[], bool]) -> MediaItem:
    """Frames are sampled already; their times go along for models whose positions depend on them (Qwen2.5-VL)."""
    videos, source = processor.video_processor, part["video"]
    are_frames = isinstance(source, list | tuple)
    if are_frames:
        video = as_video(source, part.get("fps", USUAL_FPS))
    else:
        video = load_video(source, sampling_of(processor, part), wanted)
    if (size := _large_enough(processor, *video.frames[0].size)) != video.frames[0].size:
        video = Video([frame.resize(size) for frame in video.frames], video.fps)
    count = len(video.frames)
    metadata = {"fps": video.fps, "total_num_frames": count, "duration": count / video.fps}
    size = _size_option(videos, part, max_visual_tokens, count)
    inputs = dict(videos(videos=[video.frames], video_metadata=[metadata], **_VIDEO_OPTIONS, **size))
    # Qwen2.5-VL's processor adds this to what its video processor returns.
    if "second_per_grid_ts" in processor.model_input_names:
        inputs["second_per_grid_ts"] = torch.tensor([videos.temporal_patch_size / video.fps])
    times = _times_of_pairs(count, video.fps, videos.temporal_patch_size)
    return MediaItem("video", inputs, videos.merge_size, times=times)


def _times_of_pairs(frames: int, fps: float, together: int) -> tuple[float, ...]:
    """Halfway between the first and the last of every `together` frames; the last frame counts as often as it takes."""
    last = frames - 1
    starts = range(0, frames, together)
    return tuple((start + min(start + together - 1, last)) / 2 / fps for start in starts)
