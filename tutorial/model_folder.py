"""Is a folder a whole model of the right kind? Listing and deleting models is in `tutorial/models_on_disk.py`.

An interrupted copy or download looks like a model until it is loaded, and then fails far from its cause; these checks
read file sizes and headers only, so they take no time even for a large model.
"""

import json
import re
import struct
from pathlib import Path

MODEL_TYPE = "qwen2_vl"
PARTS = ("language_model", "text_embeddings_model", "vision_embeddings_model", "vision_embeddings_merger_model")
WEIGHTS_END = re.compile(r'offset="(\d+)"[^>]*? size="(\d+)"')


class ModelFolderError(ValueError):
    """A folder that holds no model this tutorial can use; the message says what is wrong and what to do."""


def require_model_dir(path) -> Path:
    """Returns the folder of an exported Qwen2-VL model, or raises ModelFolderError: missing, half-written, other."""
    folder = Path(path).expanduser()
    require_qwen2_vl(folder)
    if not any(folder.glob("openvino_*.xml")):
        raise ModelFolderError(f"{folder} is not an OpenVINO model yet: export it first with optimum_cli.")
    for part in PARTS:
        require_whole_part(folder / f"openvino_{part}.xml")
    require_files(folder, "tokenizer_config.json")
    return folder


def require_source_dir(path) -> Path:
    """Returns the folder of a Qwen2-VL model as Transformers saves it, or raises ModelFolderError."""
    folder = Path(path).expanduser()
    require_qwen2_vl(folder)
    index = folder / "model.safetensors.index.json"
    names = sorted(set(read_json(index).get("weight_map", {}).values())) if index.exists() else ["model.safetensors"]
    if not names:
        raise half_written(folder, f"{index.name} names no weights")
    require_files(folder, "tokenizer_config.json", *names)
    for name in names:
        require_whole_safetensors(folder / name)
    return folder


def is_exported(path) -> bool:
    """True for a folder with OpenVINO files in it, whole or not."""
    return any(Path(path).expanduser().glob("openvino_*.xml"))


def require_qwen2_vl(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelFolderError(f"There is no model folder {folder}: export a model there first, or correct the path.")
    require_files(folder, "config.json")
    found = read_json(folder / "config.json").get("model_type")
    if found != MODEL_TYPE:
        raise ModelFolderError(f"{folder} holds a model of type {found!r}; this tutorial runs {MODEL_TYPE!r} only.")


def require_files(folder: Path, *names: str) -> None:
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise half_written(folder, f"{', '.join(missing)} missing")


def require_whole_part(xml: Path) -> None:
    """Checks that a graph is closed, and that its weights reach as far as the graph reads them."""
    weights = xml.with_suffix(".bin")
    require_files(xml.parent, xml.name, weights.name)
    graph = xml.read_text(encoding="utf-8", errors="replace")
    needed = max((int(start) + int(size) for start, size in WEIGHTS_END.findall(graph)), default=0)
    if not graph.rstrip().endswith("</net>"):
        raise half_written(xml.parent, f"{xml.name} breaks off")
    if weights.stat().st_size < needed:
        raise half_written(xml.parent, f"{weights.name} has {weights.stat().st_size:,} of {needed:,} bytes")


def require_whole_safetensors(file: Path) -> None:
    """Compares the file's size with the last offset in its header (https://github.com/huggingface/safetensors)."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        header = stream.read(length) if 8 + length <= size else b""
    if not header:
        raise half_written(file.parent, f"{file.name} breaks off in its header")
    try:
        tensors = [entry for name, entry in json.loads(header).items() if name != "__metadata__"]
        needed = 8 + length + max((entry["data_offsets"][1] for entry in tensors), default=0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise half_written(file.parent, f"{file.name} has an unreadable header") from error
    if size < needed:
        raise half_written(file.parent, f"{file.name} has {size:,} of {needed:,} bytes")


def read_json(file: Path) -> dict:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise half_written(file.parent, f"{file.name} is not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise half_written(file.parent, f"{file.name} is not valid: it holds {type(content).__name__}, not an object")
    return content


def half_written(folder: Path, what: str) -> ModelFolderError:
    return ModelFolderError(f"{folder} is not a whole model: {what}. Delete the folder, then export or copy it again.")
