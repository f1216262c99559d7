"""Where an export is made, by one process at a time: a folder beside the one that is to appear.

Not here: what is done in it (`cmd_helper.py`), and the names of what belongs to an export (`catalog/on_disk`).
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from catalog.on_disk import lock_of, workshop_of
from export.progress import Screen


class Workshop(NamedTuple):
    """Whoever starts a process that writes into `folder` lets it hold `lock`, the descriptor of the lock's file."""
    folder: Path
    lock: int


@contextlib.contextmanager
def sole_writer(output: Path, screen: Screen) -> Iterator[Workshop | None]:
    """Yields an empty folder beside `output` to work in, or None if another process made `output` meanwhile.

    One process at a time; what an interrupted one left is cleared away first, and our own folder afterwards.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    descriptors = []
    folder, lock = workshop_of(output), FileLock(lock_of(output), on_acquired=descriptors.append)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        screen.line(f"Another process is exporting to {output}; waiting for it.")
        lock.acquire()
    try:
        if folder.exists():
            screen.line(f"An earlier export to {output} was interrupted: what it left is removed.")
            shutil.rmtree(folder)
        if output.exists() and not is_empty(output):
            yield None
        else:
            folder.mkdir()
            yield Workshop(folder, descriptors[0])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
