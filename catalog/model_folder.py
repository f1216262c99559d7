"""Is a folder a whole model of the right kind? Listing and deleting models is in `catalog/on_disk.py`.

An interrupted copy or download looks like a model until it is loaded, and then fails far from its cause; these checks
read file sizes and headers only, so they take no time even for a large model.
"""

import json
import re
import struct
from pathlib import Path

from adapters.qwen_vl import FAMILY_NAMES, MODEL_TYPES
from catalog.errors import ModelFolderError, half_written, read_json
from catalog.manifest import require_manifest

PARTS = ("language_model", "text_embeddings_model", "vision_embeddings_model", "vision_embeddings_merger_model")
TEMPLATES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
PROCESSOR_CONFIGS = ("preprocessor_config.json", "processor_config.json")  # the hub's, and Transformers 5's
THINKS_FIRST = re.compile(r"assistant(?:\n|\\+n)<think>")  # in a chat template, where an answer begins
THINKING = (
    "a Thinking model: it writes its reasoning before each answer, and the page would show that as the answer. "
    "Take the Instruct model of the same size."
)
LENGTH_BYTES = 8  # at the start of a safetensors file
WEIGHTS_END = re.compile(r'offset="(\d+)"[^>]*? size="(\d+)"')


def require_model_dir(path) -> Path:
    """Returns the folder of an exported model of MODEL_TYPES, or raises ModelFolderError: missing, half-written, other.

    With a manifest, the sizes are those it names; without one, the weights reach as far as the graphs read them.
    """
    folder = Path(path).expanduser()
    require_family(folder)
    if not any(folder.glob("openvino_*.xml")):
        raise ModelFolderError(f"{folder} is not an OpenVINO model yet: export it first with optimum_cli.")
    graphs = [f"openvino_{part}.xml" for part in PARTS]
    require_files(folder, *graphs, "tokenizer_config.json")
    if not require_manifest(folder):
        for graph in graphs:
            require_whole_part(folder / graph)
    return folder


def require_source_dir(path) -> Path:
    """Returns the folder of a model of MODEL_TYPES as Transformers saves it, or raises ModelFolderError."""
    folder = Path(path).expanduser()
    require_family(folder)
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
    if not names:
        raise half_written(folder, f"{index.name} names no weights")
    require_files(folder, "tokenizer_config.json", *names)
    for name in names:
        if problem := broken_weights(folder / name):
            raise half_written(folder, problem)
    require_what_asks(folder)
    return folder


def require_what_asks(folder: Path) -> None:
    """Raises ModelFolderError where a model could be exported from `folder`, but nothing could be asked of it then: no
    processor's config, or no chat template, which may also be an entry of tokenizer_config.json.
    """
    if not any((folder / name).is_file() for name in PROCESSOR_CONFIGS):
        raise ModelFolderError(
            f"{folder} has no processor's config, so no picture can be shown to the model: copy "
            f"{PROCESSOR_CONFIGS[0]} (or {PROCESSOR_CONFIGS[1]}) there from the model that this one was made from."
        )
    alone = any((folder / name).is_file() for name in TEMPLATES[:2])
    if not (alone or read_json(folder / TEMPLATES[2]).get("chat_template")):
        raise ModelFolderError(
            f"{folder} has no chat template, so nothing can be asked: copy {TEMPLATES[0]} or {TEMPLATES[1]} there from "
            "the model that this one was made from."
        )


def is_exported(path) -> bool:
    """True for a folder with OpenVINO files in it, whole or not."""
    return any(Path(path).expanduser().glob("openvino_*.xml"))


def require_family(folder: Path) -> None:
    """Raises ModelFolderError unless `folder` has the config of a model of MODEL_TYPES."""
    if not folder.is_dir():
        raise ModelFolderError(f"There is no model folder {folder}: export a model there first, or correct the path.")
    require_files(folder, "config.json")
    if problem := what_is_not_run(read_json(folder / "config.json")):
        raise ModelFolderError(f"{folder} holds {problem}")
    files = [folder / name for name in TEMPLATES if (folder / name).is_file()]
    if any(THINKS_FIRST.search(file.read_text(encoding="utf-8", errors="replace")) for file in files):
        raise ModelFolderError(f"{folder} holds {THINKING}")


def what_is_not_run(config: dict) -> str | None:
    """What a model with this config is, and why it is not run; None for one of MODEL_TYPES."""
    found = config.get("model_type")
    if found in MODEL_TYPES:
        return None
    if str(found).removesuffix("_moe") in MODEL_TYPES:
        return (
            f"a model of type {found!r}, a mixture of experts (MoE): nothing of ours was tried with one, and the "
            "smallest has 30 billion parameters. Take a dense model of the same family."
        )
    return f"a model of type {found!r}; this tutorial runs {', '.join(MODEL_TYPES)} ({FAMILY_NAMES}) only."


def require_files(folder: Path, *names: str) -> None:
    """Raises ModelFolderError unless all of `names` are in `folder`."""
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise half_written(folder, f"{', '.join(missing)} missing")


def require_whole_part(xml: Path) -> None:
    """Raises ModelFolderError unless the graph and its weights are all there."""
    require_files(xml.parent, xml.name, xml.with_suffix(".bin").name)
    if problem := broken_part(xml):
        raise half_written(xml.parent, problem)


def broken_part(xml: Path) -> str | None:
    """What is wrong with a graph: it is not closed, or its weights do not reach as far as it reads them."""
    weights = xml.with_suffix(".bin")
    graph = xml.read_text(encoding="utf-8", errors="replace")
    needed = max((int(start) + int(size) for start, size in WEIGHTS_END.findall(graph)), default=0)
    if not graph.rstrip().endswith("</net>"):
        return f"{xml.name} breaks off"
    size = weights.stat().st_size if weights.is_file() else 0
    return f"{weights.name} has {size:,} of {needed:,} bytes" if size < needed else None


def broken_graphs(folder: Path) -> str | None:
    """What is wrong with the graphs in `folder`, as words: "no model", or "half a model" and why."""
    graphs = sorted(folder.glob("*.xml"))
    problems = [problem for graph in graphs if (problem := broken_part(graph))]
    if not graphs:
        return "no model"
    return f"half a model: {'; '.join(problems)}" if problems else None


def broken_weights(file: Path) -> str | None:
    """What is wrong with a safetensors file, whose header says where its last number ends
    (https://github.com/huggingface/safetensors): 8 bytes with the length of the header, the header, the numbers.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(LENGTH_BYTES)
        length = struct.unpack("<Q", start)[0] if len(start) == LENGTH_BYTES else size
        header = stream.read(length) if LENGTH_BYTES + length <= size else b""
    if not header:
        return f"{file.name} breaks off in its header"
    try:
        tensors = [entry for name, entry in json.loads(header).items() if name != "__metadata__"]
        needed = LENGTH_BYTES + length + max((entry["data_offsets"][1] for entry in tensors), default=0)
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{file.name} has an unreadable header"
    return f"{file.name} has {size:,} of {needed:,} bytes" if size < needed else None
