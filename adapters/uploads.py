"""The folder in which Gradio (6.31) keeps what visitors upload, and what is made for them: one of our own.

Gradio's default is shared by every Gradio program of every user of a machine, and it deletes only what it remembers:
after a crash, files stay for ever. So a page has a folder that nobody else reads, and what is too old in it is deleted
when a page starts.

Here: the folder, and the room on its disk. Not here: what an upload may hold (`adapters.upload_parser`). Noticed by
tests/security/test_uploads.py.
"""

import contextlib
import getpass
import os
import shutil
import tempfile
import time
from pathlib import Path

VARIABLE = "GRADIO_TEMP_DIR"  # https://www.gradio.app/guides/environment-variables
NAME = "qwen2-vl-chat"
MIN_FREE_BYTES = 1 << 30  # that uploads leave on the disk


def use_own_folder() -> None:
    """Sets VARIABLE, unless somebody has. Before the first component is made: each remembers it."""
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = str(_private(Path(tempfile.gettempdir()) / f"{NAME}-{_user()}"))


def delete_old(seconds: float) -> None:
    """Deletes from our folder, never from one that somebody set, what was last changed longer ago."""
    folder = Path(os.environ.get(VARIABLE, ""))
    if not folder.name.startswith(NAME) or not folder.is_dir():
        return
    latest = time.time() - seconds
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder before the folder
        with contextlib.suppress(OSError):  # a folder in which something is left, a file that another page deletes
            if path.lstat().st_mtime >= latest:
                continue
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()


def has_room(more: int) -> bool:
    """Whether the folder's disk has room for so many bytes, and MIN_FREE_BYTES for all else of this machine."""
    folder = os.environ.get(VARIABLE, "")
    free = shutil.disk_usage(folder if os.path.isdir(folder) else tempfile.gettempdir()).free
    return free - more >= MIN_FREE_BYTES


def _private(folder: Path) -> Path:
    """`folder`, where it is ours and nobody else may read it; else a new one."""
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not folder.is_symlink()):
            folder.chmod(0o700)
            return folder
    return Path(tempfile.mkdtemp(prefix=f"{NAME}-"))


def _user() -> str:
    with contextlib.suppress(Exception):  # in containers, numbers without a name
        return "".join(letter for letter in getpass.getuser() if letter.isalnum())
    return str(os.getuid()) if hasattr(os, "getuid") else "user"
