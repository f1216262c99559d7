"""`open_model`: the model and the processor of an OpenVINO export, as every program of ours opens them.

    model, processor = open_model("models/Qwen2-VL-2B-Instruct/INT4", device="GPU")
    session = ChatSession(model, processor)

Not here: exporting what is not exported yet (`cmd_helper.export_if_needed`), checking a folder (`model_folder`).
"""

from pathlib import Path

from adapters.qwen_vl import FAMILIES, counts_all_frames, is_practice_model
from catalog.errors import ModelFolderError
from catalog.hub import fetch_model, is_hub_id, look_up
from catalog.model_folder import require_model_dir

MIN_VISUAL_TOKENS, MAX_VISUAL_TOKENS = 256, 1280  # of a picture, as in the tutorial that this one follows
# Of a pair of a video's frames: the most is that of qwen-vl-utils. How many a file gets: `session.video_sampling`.
FRAME_TOKENS = 32, 768
VIDEO_TOKENS = 32, 12_288  # of a whole video, where the processor counts so; Qwen3-VL's own limit
PRACTICE_FRAMES = 8  # that the practice model was trained with


def open_model(source, device: str = "CPU", **options) -> tuple:
    """(model, processor): an OVModelForVisualCausalLM on `device`, and the processor that belongs to it.

    source: the folder of an OpenVINO export, or the name on the hub of a model that is OpenVINO's already. options: of
    `from_pretrained`, such as ov_config={"INFERENCE_PRECISION_HINT": "f32"}. The model's parts are compiled when they
    are needed: a session compiles them in its own way. Raises ModelFolderError and HubError.
    """
    if is_hub_id(str(source)) and not Path(source).is_dir():
        if not look_up(str(source)).exported:  # asked before gigabytes are downloaded for nothing
            raise ModelFolderError(f"{source} is not an OpenVINO model yet: export it first with optimum_cli.")
        source = fetch_model(source)
    folder = require_model_dir(source)
    from adapters.optimum_intel import load_model

    model = load_model(folder, device, **options)
    return model, load_processor(folder, model.config)


def load_processor(folder, config):
    """The processor in `folder`, with a chat template, and our budgets of visual tokens.

    config: the model's. Raises ModelFolderError where there is no chat template.
    """
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(str(folder), **_pixel_budget(config))
    if processor.chat_template is None:  # older exports keep it with the tokenizer
        processor.chat_template = processor.tokenizer.chat_template
    if processor.chat_template is None:
        raise ModelFolderError(
            f"{folder} has no chat template, so nothing can be asked: copy chat_template.jinja or chat_template.json "
            "there from the model that it was exported from."
        )
    _limit_videos(processor.video_processor, config)
    return processor


def _pixel_budget(config) -> dict[str, int]:
    """min_pixels and max_pixels of a picture; the practice model's own settings have those that it was trained with."""
    if is_practice_model(config):
        return {}
    pixels_per_token = FAMILIES[config.model_type].pixels_per_token
    return {"min_pixels": MIN_VISUAL_TOKENS * pixels_per_token, "max_pixels": MAX_VISUAL_TOKENS * pixels_per_token}


def _limit_videos(videos, config) -> None:
    """Sets the size of frames that `videos`, a video processor, makes, or the most of them."""
    if is_practice_model(config):
        videos.max_frames = PRACTICE_FRAMES
        return
    side = videos.patch_size * videos.merge_size
    if counts_all_frames(videos):  # two frames share their visual tokens, and both are counted
        smallest, largest = (tokens * side**2 * videos.temporal_patch_size for tokens in VIDEO_TOKENS)
    else:
        smallest, largest = (tokens * side**2 for tokens in FRAME_TOKENS)
    videos.size = {"shortest_edge": smallest, "longest_edge": largest}
    if getattr(videos, "min_pixels", None):  # heeded before the size
        videos.min_pixels, videos.max_pixels = smallest, largest
