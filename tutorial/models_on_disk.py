"""Exports on disk: the names of what belongs to one, a list of those in `models/`, and clean-up inside it only."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from tutorial.model_errors import ModelFolderError

MODELS_DIR = Path(__file__).resolve().parent.parent / "models"


def log_of(output: Path) -> Path:
    """The log beside an exported model's folder."""
    return output.with_name(f"{output.name}.log")


def workshop_of(output: Path) -> Path:
    """Where an export is made before it is renamed to `output`."""
    return output.with_name(f".{output.name}.partial")


def lock_of(output: Path) -> Path:
    """The file that one exporting process holds."""
    return output.with_name(f".{output.name}.lock")


@dataclass(frozen=True)
class ModelOnDisk:
    name: str  # as delete_model takes it, such as "Qwen2-VL-2B-Instruct/INT4"
    path: Path
    size: int  # bytes
    whole: bool  # False for what an interrupted export left


def list_models_on_disk() -> list[ModelOnDisk]:
    """The exports in the project's `models/`, sorted by name; leftovers of interrupted ones too. Follows no links."""
    folders = [path for path in sorted(MODELS_DIR.glob("*/*")) if path.is_dir() and not path.is_symlink()
               and not path.parent.is_symlink()]
    return [ModelOnDisk(path.relative_to(MODELS_DIR).as_posix(), path, size_of(path), not path.name.startswith("."))
            for path in folders]


def size_of(folder) -> int:
    """Bytes in a folder's files."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def delete_model(name: str) -> int:
    """Deletes the export `name`, one of list_models_on_disk(), with its log; returns the bytes freed.

    Raises ModelFolderError for any other name, and for a model that is being exported just now.
    """
    found = {model.name: model for model in list_models_on_disk()}
    if name not in found:
        raise ModelFolderError(f"There is no model {name!r} in {MODELS_DIR}; there is: {', '.join(found) or 'none'}.")
    output = found[name].path
    if not found[name].whole:
        output = output.with_name(output.name.removeprefix(".").removesuffix(".partial"))
    try:
        with FileLock(lock_of(output), timeout=0):
            shutil.rmtree(found[name].path)
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
