"""Which model this is, and what it can do.

Here: name, precision, device, memory; what the practice model can do. Not here: what its weights take on disk
(`catalog.costs`), questions to begin with (`chat_page.examples`).
"""

import json
from pathlib import Path

from adapters.optimum_intel import model_folder, requested_device
from adapters.qwen_vl import is_practice_model
from chat_session import ChatSession

PRACTICE = (
    "**Practice model: it knows coloured shapes only.** It names, counts and finds circles, squares, triangles and "
    "stars in simple drawings and says which way one moves. It cannot read text or chat. For photographs, choose 2B "
    "in the notebook's list of models, or start `make demo MODEL=Qwen/Qwen2-VL-2B-Instruct`."
)
PRECISIONS = {"int4": "INT4", "int8": "INT8", "fp16": "FP16", "fp32": "FP32"}


def is_practice(model) -> bool:
    """Whether `model`, which may be any object, is the practice model."""
    return is_practice_model(getattr(model, "config", None))


def model_line(model) -> str:
    """Name, precision and device of `model`, as far as it knows them: "Qwen2-VL-2B-Instruct · INT4 · CPU"."""
    folder = model_folder(model)
    parts = [_name(model, folder), _precision(folder), requested_device(model)]
    return " · ".join(part for part in parts if part)


def memory_note(session: ChatSession) -> str:
    """What the session's caches take; "" for a session whose caches are elsewhere. Waits for the model's turn."""
    caches = session.memory()
    return f"Cache of what was seen and read: {sum(caches.values()) / 2**20:.0f} MB." if caches else ""


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
