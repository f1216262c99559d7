"""From the pictures and videos of a message to the patches that the vision encoder takes.

Here: how many visual tokens a picture gets, its vision blocks, and a cache, so that it is not done again for every
question. Not here: opening files (`media`), the budget that models are opened with (`catalog.open`), the encoder
(`ov_model`), tokens of text (`prompt`).
"""

import functools
import hashlib
import os
from dataclasses import dataclass

import torch

from session.caches import LRUCache
from session.documents import load_page
from session.media import USUAL_FPS, MediaError, Sampling, as_video, load_image, load_video

# Transformers turns PIL images into tensors (3, height, width), but frames into arrays (height, width, 3). It can tell
# by itself, except where a picture is 1 or 3 pixels high.
_IMAGE_OPTIONS = {"return_tensors": "pt", "input_data_format": "channels_first"}
_VIDEO_OPTIONS = {"return_tensors": "pt", "input_data_format": "channels_last", "do_sample_frames": False}


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
        """Of one step in time, where the model's positions depend on it (Qwen2.5-VL)."""
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


class MediaProcessor:
    """What a Qwen-VL processor makes of pictures and videos. Safe to use from several threads.

    max_bytes: of cached patches, of files (until they change) and of bytes.
    """

    def __init__(self, processor, max_bytes: int = 0):
        self._processor = processor
        self._cache = LRUCache(max_bytes)

    @property
    def bytes(self) -> int:
        """Of the patches that are kept."""
        return self._cache.bytes

    @property
    def visual_token_budget(self) -> tuple[int, int]:
        """The fewest and the most visual tokens that a picture gets if the caller says nothing else."""
        images = self._processor.image_processor
        per_token = _pixels_per_token(images)
        return images.size["shortest_edge"] // per_token, images.size["longest_edge"] // per_token

    def process(self, part: dict, max_visual_tokens: int | None = None, owner: str = "") -> MediaItem:
        """The media item of an image or video part of a message. Raises MediaError.

        max_visual_tokens: for a picture, or for each temporal slice of a video; by default as many as the processor is
        set to. owner: the visitor whose kept patches may serve.
        """
        make = _process_image if part["type"] == "image" else _process_video
        identity = _identity(part[part["type"]])
        if identity is None:
            return make(self._processor, part, max_visual_tokens)
        key = (owner, part["type"], identity, max_visual_tokens, part.get("min_pixels"), part.get("max_pixels"),
               part.get("page"))  # fmt: skip
        item = self._cache.get(key)
        if item is None:
            item = make(self._processor, part, max_visual_tokens)
            self._cache.put(key, item)
        return item


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


def _pixels_per_token(processor) -> int:
    return (processor.patch_size * processor.merge_size) ** 2


def _size_option(processor, part: dict, max_visual_tokens: int | None) -> dict:
    """The argument that keeps a picture or a frame within its visual tokens, and within the pixels that the part itself
    states, by qwen-vl-utils' names.
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
    # Where a video processor was loaded with min_pixels and max_pixels, it heeds those and not its size.
    return {"size": {"shortest_edge": smallest, "longest_edge": largest}, "min_pixels": smallest, "max_pixels": largest}


def _process_image(processor, part: dict, max_visual_tokens: int | None) -> MediaItem:
    images = processor.image_processor
    size = _size_option(images, part, max_visual_tokens)
    notes: list[str] = [*part.get("notes", ())]
    page = part.get("page")  # of a document
    image = load_page(part["image"], page) if page else load_image(part["image"], notes)
    inputs = images(images=[image], **_IMAGE_OPTIONS, **size)
    return MediaItem("image", dict(inputs), images.merge_size, tuple(notes))


def _process_video(processor, part: dict, max_visual_tokens: int | None) -> MediaItem:
    """Frames are sampled already; their times go along for models whose positions depend on them (Qwen2.5-VL)."""
    videos, source = processor.video_processor, part["video"]
    are_frames = isinstance(source, list | tuple)
    video = as_video(source, part.get("fps", USUAL_FPS)) if are_frames else load_video(source, Sampling.of_part(part))
    count = len(video.frames)
    metadata = {"fps": video.fps, "total_num_frames": count, "duration": count / video.fps}
    size = _size_option(videos, part, max_visual_tokens)
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
