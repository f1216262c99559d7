"""A measurement in a process of its own, so that no other one warms its caches or adds to its memory.

Here: running the child, what it reports, why there is nothing, peak memory. Not here: what is measured.

The child is the same command line, `python -m benchmarks COMMAND --child PART ...`, and prints one JSON object as its
last line. Whoever starts one should have imported no large package: Linux counts what the parent holds when the child
begins into the child's peak.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MEGABYTE = 1e6
LAST_LINES = 4  # of what a child said before it failed


class MeasurementError(RuntimeError):
    """A measurement that failed, where nothing can be said without it. The text says why."""


def in_own_process(command: str, arguments: list) -> dict:
    """What `python -m benchmarks command arguments` reports; {"reason": why not} where it fails.

        in_own_process("speed", [folder, "--child", "session", "--repetitions", 2])

    It runs in the repository's root, so paths among the arguments are resolved here.
    """
    texts = [str(argument.resolve() if isinstance(argument, Path) else argument) for argument in arguments]
    argv = [sys.executable, "-m", "benchmarks", command, *texts]
    child = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    lines = child.stdout.splitlines()
    if child.returncode == 0 and lines:
        return json.loads(lines[-1])
    sys.stderr.write(child.stderr)
    return {"reason": _why(child)}


def needed(command: str, arguments: list) -> dict:
    """The same, but raises MeasurementError where it fails."""
    found = in_own_process(command, arguments)
    if "reason" in found:
        raise MeasurementError(found["reason"])
    return found


def report(result: dict) -> int:
    """The child's last line; returns its exit status."""
    print(json.dumps(result), flush=True)
    return 0


def _why(child: subprocess.CompletedProcess) -> str:
    """How the child ended, and below that the last lines of what it said about it."""
    if child.returncode >= 0:
        ending = f"its process ended with status {child.returncode}"
    else:
        ending = f"its process was ended by signal {-child.returncode} ({signal.strsignal(-child.returncode)})"
        if child.returncode == -9:  # SIGKILL, which Windows does not have
            ending += ", most often for lack of memory"
    last = [line for line in child.stderr.splitlines() if line.strip()][-LAST_LINES:]
    return "\n    ".join([ending, *last])


def peak_rss_mb() -> float | None:
    """The most memory that this process ever held; None where the system does not count it (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MEGABYTE if sys.platform == "darwin" else peak * 1024 / MEGABYTE
