"""Exports on disk: the names of what belongs to one, a list of those in `models/`, and clean-up inside it only."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from catalog.errors import ModelFolderError

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
    whole: bool  # False for what an export left that was interrupted or failed


def list_models_on_disk() -> list[ModelOnDisk]:
    """The exports in the project's `models/`, sorted by name; what interrupted and failed ones left, too.

    Follows no links below `models/`. The log of a model goes with the model, and is listed only where that is not.
    """
    inside = [path for path in sorted(MODELS_DIR.glob("*/*")) if not (path.is_symlink() or path.parent.is_symlink())]
    logs = [path for path in inside if path.is_file() and path.suffix == ".log"]
    alone = [log for log in logs if not (output_of(log).exists() or workshop_of(output_of(log)).exists())]
    found = [path for path in inside if path.is_dir() or path in alone]
    return [ModelOnDisk(path.relative_to(MODELS_DIR).as_posix(), path, size_of(path), output_of(path) == path)
            for path in found]


def output_of(path: Path) -> Path:
    """The model's folder that a folder, a workshop or a log belongs to."""
    name = path.name.removesuffix(".log")
    return path.with_name(name.removeprefix(".").removesuffix(".partial") if name.startswith(".") else name)


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
