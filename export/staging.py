"""Where an export is made, by one process at a time: a staging folder beside the folder that is to appear.

Of an export to `models/Qwen2-VL/INT4`, these lie in `models/Qwen2-VL/`:

    INT4            the model; it appears, by renaming, when it is whole
    INT4.log        all that the exporter printed
    .INT4.partial   the staging folder, for as long as the export runs
    .INT4.lock      what the exporting process holds

Not here: what is done in it (`cmd_helper`), and which exports there are (`catalog.on_disk`).
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from export.progress import ProgressDisplay


def log_of(output: Path) -> Path:
    """The log beside an exported model's folder."""
    return output.with_name(f"{output.name}.log")


def staging_of(output: Path) -> Path:
    """The folder in which an export is made before it is renamed to `output`."""
    return output.with_name(f".{output.name}.partial")


def lock_of(output: Path) -> Path:
    """The file that one exporting process holds."""
    return output.with_name(f".{output.name}.lock")


def is_empty(folder: Path) -> bool:
    """True for a folder that is there and has nothing in it."""
    return folder.is_dir() and not any(folder.iterdir())


class StagingFolder(NamedTuple):
    """Whoever starts a process that writes into `folder` lets it hold `lock`, the descriptor of the lock's file."""

    folder: Path
    lock: int


def flush(folder: Path) -> None:
    """Have the system write all files of `folder` to the disk now: else, after a power cut, a folder may be there under
    its final name with files that are empty.
    """
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        with file.open("rb+") as opened:  # Windows refuses for files that are only read
            os.fsync(opened.fileno())


@contextlib.contextmanager
def exclusive_staging(output: Path, display: ProgressDisplay) -> Iterator[StagingFolder | None]:
    """Yields an empty staging folder for `output`, or None if another process made `output` meanwhile.

    One process at a time; what an interrupted one left is cleared away first, and our own folder afterwards.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    descriptors: list[int] = []
    lock = FileLock(lock_of(output), on_acquired=descriptors.append)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        display.line(f"Another process is exporting to {output}; waiting for it.")
        lock.acquire()
    folder = staging_of(output)
    try:
        if folder.exists():
            display.line(f"An earlier export to {output} was interrupted: what it left is removed.")
            shutil.rmtree(folder)
        if output.exists() and not is_empty(output):
            yield None
        else:
            folder.mkdir()
            yield StagingFolder(folder, descriptors[0])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
