"""The models a reader can choose: the practice model, those on the hub, ready-made ones, and the reader's own.

    choice = model_choices()[0]
    choice.source       # tiny_model/weights
    choice.load_from    # models/practice-model-1a2b3c/INT4

What each costs is worked out in `catalog/costs.py`. Exporting and loading are the callers' business.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from catalog import hub
from catalog.costs import NONE, Costs, Figure, costs_of, size_cell
from catalog.errors import half_written, read_json
from catalog.measurements import PRACTICE, measured_exports, measured_runs
from catalog.model_folder import is_exported, require_model_dir, require_source_dir
from catalog.on_disk import MODELS_DIR, size_of
from catalog.parameters import BYTES, Parameters, count_parameters, export_bytes
from catalog.shapes import SHAPES

PRACTICE_DIR = MODELS_DIR.parent / "tiny_model" / "weights"
ON_THE_HUB = {  # name: shape
    "Qwen/Qwen2-VL-2B-Instruct": "2b",
    "Qwen/Qwen2-VL-7B-Instruct": "7b",
    "Qwen/Qwen2.5-VL-3B-Instruct": "2.5-3b",
    "Qwen/Qwen2.5-VL-7B-Instruct": "2.5-7b",
    "Qwen/Qwen3-VL-2B-Instruct": "3-2b",
    "Qwen/Qwen3-VL-4B-Instruct": "3-4b",
    "Qwen/Qwen3-VL-8B-Instruct": "3-8b",
}
READY_MADE = {  # shape: name
    "7b": "OpenVINO/Qwen2-VL-7B-Instruct-int4-ov",
    "2.5-7b": "OpenVINO/Qwen2.5-VL-7B-Instruct-int4-ov",
    "3-8b": "OpenVINO/Qwen3-VL-8B-Instruct-int4-ov",
}


@dataclass(frozen=True)
class ModelChoice:
    """One entry of the dropdown."""

    label: str
    source: str  # what to export: a folder or a name on the hub
    load_from: str  # what to load: the folder of the export, or the name of a ready-made model on the hub
    needs_export: bool  # False where `source` is an OpenVINO model already
    costs: Costs
    ready_made: str = ""  # the name of the same model on the hub, converted by somebody else

    @property
    def is_ready(self) -> bool:
        """Whether there is nothing left to do before loading it."""
        return Path(self.load_from).is_dir()

    @property
    def download(self) -> str:
        """As text: the size, or "none"."""
        return size_cell(Figure(self.costs.download_bytes))


def model_choices(own_model=None) -> list[ModelChoice]:
    """The practice model first, then those on the hub; the reader's own comes last, if one is named.

    own_model: a folder with a model of one of these families as Transformers saves it, or with an export of one; or the
    name of such a model on the hub, which is asked for its config then, and never before. Raises ModelFolderError for
    anything else, and HubError where the hub does not answer with a model.
    """
    choices = [
        practice_choice(),
        *(hub_choice(name, shape) for name, shape in ON_THE_HUB.items()),
        *(ready_made_choice(name, shape) for shape, name in READY_MADE.items()),
    ]
    if not own_model:
        return choices
    listed = [choice for choice in choices if choice.source == str(own_model)]
    if listed:
        return [*(choice for choice in choices if choice not in listed), *listed]
    folder = Path(own_model).expanduser()
    if not folder.exists() and hub.is_hub_id(str(own_model)):
        return [*choices, named_choice(str(own_model))]
    return [*choices, own_choice(folder)]


def source_and_export(typed: str | None) -> tuple[str, str]:
    """(what to export, where the OpenVINO model is or will be) for what a person typed in a terminal.

    typed: None for the practice model, a name on the hub, a folder. The two are equal for a model that is known to be
    OpenVINO's already. The hub is not asked. Raises ModelFolderError for anything else.
    """
    choices = model_choices()
    known = {None: choices[0], **{choice.source: choice for choice in choices}}
    if typed in known:
        return known[typed].source, known[typed].load_from
    if hub.is_hub_id(typed) and not Path(typed).is_dir():
        return typed, hub_export_dir(typed)
    own = own_choice(Path(typed).expanduser())
    return own.source, own.load_from


def practice_choice() -> ModelChoice:
    """The practice model. Raises ModelFolderError where its weights are not whole."""
    # By content: what was exported before a new training run must not be taken for it.
    weights = (require_source_dir(PRACTICE_DIR) / "model.safetensors").read_bytes()
    return ModelChoice(
        "Practice model (coloured shapes)",
        source=as_shown(PRACTICE_DIR),
        load_from=export_dir("practice-model", weights),
        needs_export=True,
        costs=costs(read_shape(PRACTICE_DIR)),
    )


def hub_choice(name: str, shape: str) -> ModelChoice:
    """A model on the hub that is to be exported here. shape: its name in SHAPES."""
    parameters = count_parameters(SHAPES[shape])
    return ModelChoice(
        name,
        source=name,
        load_from=hub_export_dir(name),
        needs_export=True,
        costs=costs(parameters, parameters.total * BYTES["fp16"]),
        ready_made=READY_MADE.get(shape, ""),
    )


def ready_made_choice(name: str, shape: str) -> ModelChoice:
    """A model on the hub that is OpenVINO's already, in 4 bits. shape: its name in SHAPES."""
    parameters = count_parameters(SHAPES[shape])
    return ModelChoice(
        f"{name} (ready-made)",
        source=name,
        load_from=name,
        needs_export=False,
        costs=converted(parameters, export_bytes(parameters)),
    )


def named_choice(name: str) -> ModelChoice:
    """A model on the hub whose name the reader has typed."""
    found = hub.look_up(name)
    parameters = shape_of(found.config, name)
    if found.exported:
        return ModelChoice(name, name, name, needs_export=False, costs=converted(parameters, found.size))
    return ModelChoice(name, name, hub_export_dir(name), needs_export=True, costs=costs(parameters, found.size))


def own_choice(folder: Path) -> ModelChoice:
    """A model in a folder of the reader's own, exported or not. Raises ModelFolderError."""
    label = f"My own folder: {folder.name}"
    if is_exported(folder):
        path = str(require_model_dir(folder))
        own = replace(converted(read_shape(folder), 0), disk_bytes=size_of(folder))
        return ModelChoice(label, path, path, needs_export=False, costs=own)
    files = sorted(
        (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in require_source_dir(folder).iterdir()
    )
    identity = repr((str(folder.resolve()), files)).encode()  # checkpoints of the same name are not the same model
    load_from = export_dir(folder.name, identity)
    return ModelChoice(label, str(folder), load_from, needs_export=True, costs=costs(read_shape(folder)))


# ---- costs and folders -----------------------------------------------------------------------------------------------


def costs(shape: Parameters, download_bytes: float = 0) -> Costs:
    """The costs of a model of this shape that is to be exported here."""
    return costs_of(shape, download_bytes, by_shape(measured_exports()), by_shape(measured_runs()))


def converted(shape: Parameters, download_bytes: float) -> Costs:
    """The same for one that is OpenVINO's already."""
    return replace(
        costs(shape, download_bytes),
        disk_bytes=download_bytes,
        export_disk_bytes=0,
        export_memory_bytes=NONE,
        export_minutes=NONE,
    )


def by_shape(measured: dict) -> dict:
    """Measurements by the parameters of what was measured, so that a model of the same shape finds its own."""
    return {
        read_shape(PRACTICE_DIR) if name == PRACTICE else count_parameters(SHAPES[name]): measurement
        for name, measurement in measured.items()
    }


def read_shape(folder: Path) -> Parameters:
    """The parameters of the model in `folder`, by its config.json. Raises ModelFolderError."""
    return shape_of(read_json(folder / "config.json"), folder)


def shape_of(config: dict, where) -> Parameters:
    """The parameters of a model with this config; `where` it lies is for the ModelFolderError."""
    try:
        return count_parameters(config)
    except KeyError as error:
        raise half_written(where, f"config.json lacks {error}") from error


def hub_export_dir(name: str) -> str:
    """Where a model of the hub is exported to; two owners' models of the same name do not share a folder."""
    owner, _, model = name.rpartition("/")
    return as_shown(MODELS_DIR / (model if owner == "Qwen" else f"{owner}--{model}") / "INT4")


def export_dir(name: str, identity: bytes) -> str:
    """Where a model in a folder is exported to; models of the same `name` that differ do not share a folder."""
    return as_shown(MODELS_DIR / f"{name}-{hashlib.sha256(identity).hexdigest()[:6]}" / "INT4")


def as_shown(path: Path) -> str:
    """A path that says nothing about whose machine this is, where it is inside the current folder."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
