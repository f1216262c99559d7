"""Exports on disk: a list of those in `models/`, what to report of them, and clean-up inside that folder only.

    for model in list_models_on_disk():
        print(model.name, model.size)
    delete_model("Qwen2-VL-2B-Instruct/INT4")

Not here: the names of what lies beside an export while it is made (`export/staging.py`).
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from catalog.errors import ModelFolderError
from catalog.manifest import verify_hashes
from environment.report import Line
from export.staging import lock_of, log_of, staging_of

MODELS_DIR = Path(__file__).resolve().parent.parent / "models"


@dataclass(frozen=True)
class ModelOnDisk:
    """One export, or what is left of one."""

    name: str  # as delete_model takes it, such as "Qwen2-VL-2B-Instruct/INT4"
    path: Path
    size: int  # bytes
    whole: bool  # False for what an export left that was interrupted or failed


def list_models_on_disk() -> list[ModelOnDisk]:
    """The exports in the project's `models/`, sorted by name; what interrupted and failed ones left, too.

    Follows no links below `models/`. The log of a model goes with the model, and is listed only where that is not.
    """
    inside = [path for path in sorted(MODELS_DIR.glob("*/*")) if not (path.is_symlink() or path.parent.is_symlink())]
    found = [path for path in inside if path.is_dir() or is_lone_log(path)]
    return [
        ModelOnDisk(path.relative_to(MODELS_DIR).as_posix(), path, size_of(path), whole=output_of(path) == path)
        for path in found
    ]


def is_lone_log(path: Path) -> bool:
    """True for the log of an export of which nothing else is there."""
    if not path.is_file() or path.suffix != ".log":
        return False
    output = output_of(path)
    return not (output.exists() or staging_of(output).exists())


def output_of(path: Path) -> Path:
    """The model's folder that a folder, a staging folder or a log belongs to."""
    name = path.name.removesuffix(".log")
    if name.startswith("."):
        name = name.removeprefix(".").removesuffix(".partial")
    return path.with_name(name)


def size_of(folder) -> int:
    """Bytes in a folder's files, or of a file."""
    files = [Path(folder)] if Path(folder).is_file() else Path(folder).rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())


def delete_model(name: str) -> int:
    """Deletes the export `name`, one of list_models_on_disk(), with its log; returns the bytes freed.

    Raises ModelFolderError for any other name, and for a model that is being exported just now.
    """
    found = {model.name: model for model in list_models_on_disk()}
    if name not in found:
        raise ModelFolderError(f"There is no model {name!r} in {MODELS_DIR}; there is: {', '.join(found) or 'none'}.")
    path, output = found[name].path, output_of(found[name].path)
    try:
        with FileLock(lock_of(output), timeout=0):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    except Timeout as error:
        raise ModelFolderError(f"{name} is being exported by another process; stop that first.") from error
    tidy_up_after(output)
    return found[name].size


def tidy_up_after(output: Path) -> None:
    """Removes the log and the lock of a model that is gone, and its parent folder if nothing else is in it."""
    if output.exists():
        return
    for file in (log_of(output), lock_of(output)):
        file.unlink(missing_ok=True)
    if not any(output.parent.iterdir()):
        output.parent.rmdir()


# ---- for the report of this machine ----------------------------------------------------------------------------------


def export_lines() -> list[Line]:
    """A line for each export in `models/`; every byte of it is read."""
    models = list_models_on_disk()
    return [export_line(model) for model in models] if models else [Line("exports", "none in models/")]


def export_line(model: ModelOnDisk) -> Line:
    """How large an export is, and what is wrong with it."""
    problem = ""
    if not model.whole:
        problem = "what an export left that was interrupted (or is going on now): the next one clears it away"
    elif changed := verify_hashes(model.path):
        problem = f"{'; '.join(changed)}. Delete it with delete_model({model.name!r}) and export again"
    return Line(f"models/{model.name}", f"{model.size / 1e6:,.0f} MB", problem)
