"""An export in a process of its own, and what can be done to it: SIGKILL for its exporter, or for all of it.

Here: starting, killing, and what is in the folder afterwards. Not here: how often, and the table
(`tests/stress/faults.py`). Linux only: it looks for processes in /proc.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from catalog.manifest import verify_hashes
from catalog.model_folder import ModelFolderError, require_model_dir
from export.staging import lock_of, log_of, staging_of

ROOT = Path(__file__).resolve().parent.parent.parent
EXPORT = """
import sys; from cmd_helper import ExportError, optimum_cli
try: optimum_cli(sys.argv[1], sys.argv[2], additional_args={"weight-format": "int4"})
except ExportError as error: sys.exit(str(error))
"""
ORPHAN_S = 30.0  # longer than that nobody waits for one
POLL_S = 0.005


def state(output: Path) -> str:
    """"none", "whole" or "half": a folder that loading would refuse, or whose bytes are not those of the manifest."""
    if not output.exists():
        return "none"
    try:
        return "half" if verify_hashes(require_model_dir(output)) else "whole"
    except ModelFolderError:
        return "half"


def left_over(output: Path) -> set[str]:
    """What is beside the model, its log and its lock."""
    return {path.name for path in output.parent.iterdir()} - {output.name, log_of(output).name, lock_of(output).name}


def start(source: Path, output: Path, screen: Path, code: str = EXPORT, **options) -> subprocess.Popen:
    """An export in a process of its own; what its reader would see is added to the file `screen`."""
    command = [sys.executable, "-c", code, str(source), str(output)]
    with screen.open("a") as shown:
        return subprocess.Popen(command, cwd=ROOT, stdout=shown, stderr=subprocess.STDOUT, **options)


def exporter_of(process: subprocess.Popen, timeout_s: float = 30.0) -> int | None:
    """The process id of the exporter that `process` has started, waiting for it; None if it ends without one."""
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < deadline:
        for children in Path(f"/proc/{process.pid}/task").glob("*/children"):
            if found := children.read_text().split():
                return int(found[0])
        time.sleep(POLL_S)
    return None


def seconds_until_gone(pid: int) -> float:
    """How long a process goes on; what has ended but nobody has asked about yet does not count."""
    started = time.monotonic()
    while _runs(pid) and time.monotonic() - started < ORPHAN_S:
        time.sleep(POLL_S)
    return time.monotonic() - started


def _runs(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status not in "ZX"  # a zombie, dead


def wait_for_files(process: subprocess.Popen, output: Path) -> None:
    """Until the exporter has begun to write the model, or the export has ended."""
    model = staging_of(output) / "model"
    while process.poll() is None and not (model.exists() and any(model.iterdir())):
        time.sleep(0.02)


def kill_exporter(process: subprocess.Popen, after_s: float) -> None:
    """SIGKILL for the exporter, `after_s` seconds after it began, and the end of the export that started it."""
    pid = exporter_of(process)
    time.sleep(after_s)
    if process.poll() is None and pid:
        os.kill(pid, signal.SIGKILL)
    process.wait()


def kill_all(process: subprocess.Popen, after_s: float) -> int | None:
    """SIGKILL for the export itself; the exporter's process id, which is an orphan now, if it had begun."""
    pid = exporter_of(process)
    time.sleep(after_s)
    process.kill()
    process.wait()
    return pid
