"""From the pictures and videos of a message to the patches that the vision encoder sees.

Here: how many visual tokens a picture gets, what its blocks are, and not doing it again on every turn. Not here:
opening files (`media`), the encoder (`model`), tokens (`prompt`).
"""

import functools
import hashlib
import os
from dataclasses import dataclass

import torch

from session.media import USUAL_FPS, MediaError, as_video, load_image, load_video
from session.recent import Recent

# Transformers turns PIL images into tensors (3, height, width), but frames into arrays (height, width, 3). It can tell
# by itself, except where a picture is 1 or 3 pixels high.
_IMAGES = {"return_tensors": "pt", "input_data_format": "channels_first"}
_FRAMES = {"return_tensors": "pt", "input_data_format": "channels_last", "do_sample_frames": False}


@dataclass(frozen=True)
class Block:
    """What the vision encoder sees in one piece: a picture, or one temporal slice of a video.

    patches (h·w, values); grid (1, h, w) in patches; digest is the same for the same pixels and grid, and only for
    these; tokens is how many visual tokens the language model gets.
    """

    patches: torch.Tensor
    grid: tuple[int, int, int]
    digest: bytes
    tokens: int


@dataclass(frozen=True)
class Medium:
    """One picture or video as its processor returned it, (1, …) in each tensor, and its `kind`."""

    kind: str
    inputs: dict[str, torch.Tensor]
    merge_size: int

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
    def blocks(self) -> list[Block]:
        time, height, width = self.grid
        patches = self.inputs["pixel_values" if self.kind == "image" else "pixel_values_videos"]
        return [self._block(part, (1, height, width)) for part in patches.chunk(time)]

    def _block(self, patches: torch.Tensor, grid: tuple[int, int, int]) -> Block:
        digest = hashlib.blake2b(patches.contiguous().numpy(), digest_size=16, salt=repr(grid).encode()[:16])
        return Block(patches, grid, digest.digest(), len(patches) // self.merge_size**2)


class Patches:
    """What a Qwen2-VL processor makes of pictures and videos. Up to `max_bytes` of those in files are kept, until the
    file changes. Safe to use from several threads.
    """

    def __init__(self, processor, max_bytes: int = 0):
        self._processor, self._kept = processor, Recent(max_bytes)

    @property
    def bytes(self) -> int:
        return self._kept.bytes

    @property
    def budgets(self) -> tuple[int, int]:
        """The fewest and the most visual tokens that a picture gets if nobody says otherwise."""
        images = self._processor.image_processor
        return tuple(images.size[edge] // _pixels_per_token(images) for edge in ("shortest_edge", "longest_edge"))

    def of(self, block: dict, max_visual_tokens: int | None = None) -> Medium:
        """The medium of an image or video block, within `max_visual_tokens` for a picture, or for each temporal slice
        of a video; by default as many as the processor is set to. Raises MediaError.
        """
        open_ = _image if block["type"] == "image" else _video
        identity = _identity(block[block["type"]])
        if identity is None:
            return open_(self._processor, block, max_visual_tokens)
        key = (block["type"], identity, max_visual_tokens)
        medium = self._kept.get(key)
        if medium is None:
            medium = open_(self._processor, block, max_visual_tokens)
            self._kept.put(key, medium)
        return medium


def _identity(source) -> tuple | None:
    """What tells a file from any other, and from itself when it was changed; None for what is no file."""
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


def _size(processor, budget: int | None) -> dict:
    """The argument that keeps a picture or a frame within `budget` visual tokens."""
    if budget is None:
        return {}
    if budget < 1:
        raise MediaError(f"A picture cannot be seen with {budget} visual tokens; it takes one at least.")
    most = budget * _pixels_per_token(processor)
    return {"size": {"shortest_edge": min(most, processor.size["shortest_edge"]), "longest_edge": most}}


def _image(processor, block: dict, budget: int | None) -> Medium:
    images = processor.image_processor
    inputs = images(images=[load_image(block["image"])], **_IMAGES, **_size(images, budget))
    return Medium("image", dict(inputs), images.merge_size)


def _video(processor, block: dict, budget: int | None) -> Medium:
    """Frames are sampled already; their times go along for models that look at the clock (Qwen2-VL does not)."""
    videos, source = processor.video_processor, block["video"]
    is_frames = isinstance(source, list | tuple)
    video = as_video(source, block.get("fps", USUAL_FPS)) if is_frames else load_video(source)
    count = len(video.frames)
    metadata = {"fps": video.fps, "total_num_frames": count, "duration": count / video.fps}
    inputs = dict(videos(videos=[video.frames], video_metadata=[metadata], **_FRAMES, **_size(videos, budget)))
    if "second_per_grid_ts" in processor.model_input_names:  # Qwen2.5-VL's processor adds it to what this one returns
        inputs["second_per_grid_ts"] = torch.tensor([videos.temporal_patch_size / video.fps])
    return Medium("video", inputs, videos.merge_size)
