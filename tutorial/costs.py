"""The models a reader can choose, and what each costs: download, disk, memory, minutes.

Sizes are computed from a model's config. Memory and minutes are measured, or say how they were come by, or that nobody
has measured them. Exporting and loading are the notebook's business.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tutorial.model_folder import half_written, is_exported, read_json, require_model_dir, require_source_dir
from tutorial.model_size import BYTES, Parameters, count_parameters, export_bytes
from tutorial.models_on_disk import MODELS_DIR, size_of

PRACTICE_DIR = MODELS_DIR.parent / "tiny_model" / "weights"
NOT_MEASURED = "not measured"
NOTHING = "none"
MEASURED_ON = "two AVX2 cores"

# The shapes in https://huggingface.co/Qwen/Qwen2-VL-2B-Instruct/blob/main/config.json and its 7B sibling.
HUB_VISION = {"depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "patch_size": 14, "spatial_merge_size": 2,
              "temporal_patch_size": 2}
CONFIG_2B = {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
             "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True,
             "vision_config": {**HUB_VISION, "hidden_size": 1536}}
CONFIG_7B = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
             "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False,
             "vision_config": {**HUB_VISION, "hidden_size": 3584}}
RAM_2B = 16.5e9  # peak of its INT4 export, measured


@dataclass(frozen=True)
class ModelChoice:
    """One entry of the dropdown. Costs are texts, ready to be shown."""
    label: str
    source: str  # what to export: a folder or a name on the hub
    load_from: str  # what to load: the folder of the export, or the name of a ready-made model on the hub
    needs_export: bool  # False where `source` is an OpenVINO model already
    download: str
    disk: str  # of the export
    ram: str  # peak while exporting
    minutes: str  # of exporting


def model_choices(own_folder=None) -> list[ModelChoice]:
    """The practice model first, then those on the hub, then the reader's own folder if one is named.

    own_folder: a Qwen2-VL as Transformers saves it, or an export of one. Raises ModelFolderError if it is neither.
    """
    seven_b = count_parameters(CONFIG_7B)
    choices = [
        practice_choice(),
        hub_choice("Qwen/Qwen2-VL-2B-Instruct", count_parameters(CONFIG_2B), f"{gigabytes(RAM_2B)}, measured",
                   minutes="4, measured"),
        hub_choice("Qwen/Qwen2-VL-7B-Instruct", seven_b, scaled_ram(seven_b), minutes=NOT_MEASURED),
        ready_made_choice("OpenVINO/Qwen2-VL-7B-Instruct-int4-ov", seven_b),
    ]
    return [*choices, own_choice(Path(own_folder).expanduser())] if own_folder else choices


def costs_table(choices: list[ModelChoice]) -> str:
    """The costs as a Markdown table, with what its words mean below."""
    rows = ["| Model | Download | Disk, INT4 | Memory to convert | Minutes to convert |", "|---|---|---|---|---|"]
    rows += [f"| {c.label} | {c.download} | {c.disk} | {c.ram} | {c.minutes} |" for c in choices]
    note = (f"Sizes are those of the weights, computed from each model's config. Measured: on {MEASURED_ON}, without "
            "the download. Scaled from 2B: the same bytes per parameter.")
    return "\n".join([*rows, "", note])


def practice_choice() -> ModelChoice:
    # By content: what was exported before a new training run must not be taken for it.
    weights = (require_source_dir(PRACTICE_DIR) / "model.safetensors").read_bytes()
    size = gigabytes(export_bytes(read_shape(PRACTICE_DIR)))
    return ModelChoice("Practice model (coloured shapes)", as_shown(PRACTICE_DIR),
                       export_dir("practice-model", weights), needs_export=True, download=NOTHING, disk=size,
                       ram="1.3 GB, measured", minutes="under 1, measured")


def hub_choice(name: str, shape: Parameters, ram: str, minutes: str) -> ModelChoice:
    folder = MODELS_DIR / name.rpartition("/")[2] / "INT4"
    return ModelChoice(name, name, as_shown(folder), needs_export=True, download=gigabytes(shape.total * BYTES["fp16"]),
                       disk=gigabytes(export_bytes(shape)), ram=ram, minutes=minutes)


def ready_made_choice(name: str, shape: Parameters) -> ModelChoice:
    size = gigabytes(export_bytes(shape))
    return ModelChoice(f"{name} (ready-made)", name, name, needs_export=False, download=size, disk=size,
                       ram=NOTHING, minutes=NOTHING)


def own_choice(folder: Path) -> ModelChoice:
    label = f"My own folder: {folder.name}"
    if is_exported(folder):
        path = str(require_model_dir(folder))
        return ModelChoice(label, path, path, needs_export=False, download=NOTHING, disk=gigabytes(size_of(folder)),
                           ram=NOTHING, minutes=NOTHING)
    files = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns)
                   for path in require_source_dir(folder).iterdir())
    identity = repr((str(folder.resolve()), files)).encode()  # checkpoints of the same name are not the same model
    shape = read_shape(folder)
    return ModelChoice(label, str(folder), export_dir(folder.name, identity), needs_export=True, download=NOTHING,
                       disk=gigabytes(export_bytes(shape)), ram=scaled_ram(shape), minutes=NOT_MEASURED)


def read_shape(folder: Path) -> Parameters:
    try:
        return count_parameters(read_json(folder / "config.json"))
    except KeyError as error:
        raise half_written(folder, f"config.json lacks {error}") from error


def export_dir(name: str, identity: bytes) -> str:
    return as_shown(MODELS_DIR / f"{name}-{hashlib.sha256(identity).hexdigest()[:6]}" / "INT4")


def as_shown(path: Path) -> str:
    """A path that says nothing about whose machine this is, where it is inside the current folder."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def scaled_ram(shape: Parameters) -> str:
    """Peak memory of an INT4 export, if it takes as many bytes for each parameter as that of the 2B model."""
    return f"{gigabytes(RAM_2B * shape.total / count_parameters(CONFIG_2B).total)}, scaled from 2B"


def gigabytes(size: float) -> str:
    """1 800 000 000 -> "1.8 GB"; what is smaller than 0.1 GB in MB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"
