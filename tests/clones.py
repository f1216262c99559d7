"""Small copies of this repository for tests of its set-up and tasks, and stand-ins for the programs these call."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def make_clone(parent: Path) -> Path:
    """A clone in a path with spaces, without `.venv`, whose requirements are two packages of no size."""
    folder = parent / "my clone of it"
    for room in ("tasks", "environment"):  # set-up runs before any package is there, from these alone
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "requirements.txt").write_text("tiny==1.0  # the smallest\n")
    (folder / "requirements-test.txt").write_text("tiny-test==1.0  # another\n")
    return folder


def run(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run `command` in `folder`, without this machine's settings for pip and make, with `variables`."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "MAKE"))}
    environment = {**clean, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def script(path: Path, body: str) -> Path:
    """Write an executable shell script to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path
