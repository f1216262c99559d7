"""The Qwen-VL families as Transformers names them, what differs between them for all of us, and our own among them.

Sources: https://arxiv.org/abs/2409.12191 (Qwen2-VL), https://arxiv.org/abs/2502.13923 (Qwen2.5-VL),
https://arxiv.org/abs/2511.21631 (Qwen3-VL), and `patch_size` and `merge_size` of their preprocessor_config.json.
Noticed by tests/test_qwen_vl.py. Not here: what differs between their graphs (`session.ov_model`).
"""

from dataclasses import dataclass

MERGE_SIZE = 2  # patches of one side of a visual token, which is what the language model takes

# How a family writes bounding boxes: `name(x1,y1),(x2,y2)` in thousandths of the picture's sides; JSON in pixels of the
# picture as the model was shown it; JSON in thousandths (see `session.boxes`).
TEXT_THOUSANDTHS, JSON_PIXELS, JSON_THOUSANDTHS = "text, thousandths", "JSON, pixels", "JSON, thousandths"


@dataclass(frozen=True)
class Family:
    """name: for people. processor: the name of Transformers' class. patch_size: pixels of one side of a patch, which is
    what the vision encoder takes. box_format: one of the three above. times_in_text: whether each pair of a video's
    frames has a place of its own in the prompt, behind its time as text ("<0.2 seconds>"). smallest_frame_side: pixels
    of a video's frame, below which its processor refuses it.
    """

    name: str
    processor: str
    patch_size: int
    box_format: str
    times_in_text: bool = False
    smallest_frame_side: int = 1

    @property
    def pixels_per_token(self) -> int:
        """Of one visual token: 28 × 28, or 32 × 32."""
        return (self.patch_size * MERGE_SIZE) ** 2


FAMILIES = {  # by `model_type` in config.json
    "qwen2_vl": Family("Qwen2-VL", "Qwen2VLProcessor", 14, TEXT_THOUSANDTHS),
    "qwen2_5_vl": Family("Qwen2.5-VL", "Qwen2_5_VLProcessor", 14, JSON_PIXELS),
    "qwen3_vl": Family("Qwen3-VL", "Qwen3VLProcessor", 16, JSON_THOUSANDTHS, True, smallest_frame_side=32),
}
MODEL_TYPES = tuple(FAMILIES)
FAMILY_NAMES = "Qwen2-VL, Qwen2.5-VL and Qwen3-VL"  # the same for people

PATCH_SIZE = FAMILIES["qwen2_vl"].patch_size  # of the practice model, and of the tutorial's figures
PIXELS_PER_TOKEN = FAMILIES["qwen2_vl"].pixels_per_token


def family_of(processor) -> Family:
    """The family that `processor`, one of Transformers', belongs to; Qwen2-VL's for a class that is not known."""
    names = {family.processor: family for family in FAMILIES.values()}
    return names.get(type(processor).__name__, FAMILIES["qwen2_vl"])


def counts_all_frames(processor) -> bool:
    """Whether the `size` of `processor` is that of all frames of a video together: so it is with Qwen3-VL's."""
    return type(processor).__name__ == "Qwen3VLVideoProcessor"


def patch_grid(processor, frames: int, width: int, height: int, smallest: int, largest: int) -> tuple[int, int]:
    """(height, width) in patches of what `processor`, for pictures or for videos, makes of so many frames of this size.

    smallest, largest: pixels, as its `size` has them. Computed by Transformers' own rule (`smart_resize`): Qwen3-VL's
    videos have one that looks at the number of frames.
    """
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize as smart_resize_video

    side = processor.patch_size * processor.merge_size
    if counts_all_frames(processor):
        sides = smart_resize_video(frames, height, width, processor.temporal_patch_size, side, smallest, largest)
    else:
        sides = smart_resize(height, width, side, smallest, largest)
    return sides[0] // processor.patch_size, sides[1] // processor.patch_size


def is_practice_model(config) -> bool:
    """Whether `config`, of a loaded model, is that of the practice model: it has an entry that no other has."""
    return getattr(config, "practice_model", False)
