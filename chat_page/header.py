"""What the header says of the model, and the conversations to begin with.

Here: name, precision, device, memory; what the practice model can do; examples that work on the model at hand. Not
here: the weights' cost on disk (`catalog.costs`).
"""

import json
from pathlib import Path

from gradio.processing_utils import save_file_to_cache, save_pil_to_cache
from gradio.utils import get_upload_folder

from chat_session import ChatSession

CAT = Path(__file__).resolve().parent.parent / "tutorial" / "cat.jpg"
PRACTICE = (
    "**Practice model: it knows coloured shapes only. Choose 2B for photographs.** It names, counts and finds circles, "
    "squares, triangles and stars in simple drawings and says which way one moves. It cannot read text or chat."
)
PRECISIONS = {"int4": "INT4", "int8": "INT8", "fp16": "FP16", "fp32": "FP32"}


def is_practice(model) -> bool:
    return getattr(getattr(model, "config", None), "practice_model", False)


def about(model) -> str:
    """Name, precision and device of `model`, as far as it knows them."""
    folder = Path(getattr(model, "model_save_dir", None) or "")
    parts = [_name(model, folder), _precision(folder), getattr(model, "_device", "")]
    return " · ".join(part for part in parts if part)


def _name(model, folder: Path) -> str:
    if is_practice(model):
        return "Practice model"
    return folder.parent.name if folder.name.lower() in PRECISIONS else folder.name


def _precision(folder: Path) -> str:
    """The weights', as the exporter noted it down."""
    try:
        noted = json.loads((folder / "openvino_config.json").read_text(encoding="utf-8"))
        return PRECISIONS.get(noted["dtype"], "")
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def memory(session: ChatSession) -> str:
    """What is kept so that nothing is seen or read twice; "" where it is kept elsewhere."""
    kept = session.memory()
    return f" · {sum(kept.values()) / 2**20:.0f} MB of memory for what was seen and read" if kept else ""


def examples(model) -> list[dict]:
    """As the Chatbot takes them: questions with pictures in this page's upload cache."""
    if is_practice(model):
        return _drawn_examples()
    cat = save_file_to_cache(CAT, cache_dir=get_upload_folder())
    return [
        {"text": "Describe this photo in one sentence.", "files": [cat]},
        {"text": "What colour are the cat's eyes?", "files": [cat]},
        {"text": "Write a short poem about this cat.", "files": [cat]},
    ]


def _drawn_examples() -> list[dict]:
    from tiny_model.scenes import Shape  # drawn here, so that nothing is drawn for other models

    circle_and_star = _drawing(Shape("circle", "red", 0.2, 0.25, 0.17), Shape("star", "blue", 0.8, 0.75, 0.2))
    three = _drawing(
        Shape("square", "green", 0.2, 0.5, 0.16), Shape("triangle", "orange", 0.5, 0.5, 0.16),
        Shape("circle", "purple", 0.8, 0.5, 0.16),
    )  # fmt: skip
    return [
        {"text": "Describe this image.", "files": [circle_and_star]},
        {"text": "Locate the blue star.", "files": [circle_and_star]},
        {"text": "How many shapes are there?", "files": [three]},
        {"text": "Which picture has a green square?", "files": [circle_and_star, three]},
    ]


def _drawing(*shapes) -> str:
    from tiny_model.scenes import draw

    return save_pil_to_cache(draw(shapes, size=(336, 224)), get_upload_folder(), name="drawing", format="png")
