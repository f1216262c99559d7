"""How much memory and time an export takes: `python -m benchmarks export MODEL OUT`, on Linux.

Once by `optimum-cli` as it comes (`--plain`), once as this tutorial runs it, to see what `export/small_trace.py`
spares. Prints one line: seconds, the peak of anonymous memory (what the process wrote itself) and of the files that it
mapped (which the system drops when memory is short). `--limit GB` runs it in a memory control group of that size, where
page cache counts too; that needs root and cgroup v1. Not here: comparing what was written.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from adapters.library_telemetry import TELEMETRY_OFF
from benchmarks import records
from benchmarks.options import add_record, check_record
from benchmarks.processes import ROOT, MeasurementError
from catalog.presets import PRESETS

CONTROL_GROUP = Path("/sys/fs/cgroup/memory/benchmarks_export")
PLAIN = ["-m", "optimum.commands.optimum_cli"]
OURS = [str(ROOT / "export" / "small_trace.py")]
TASK = ["--task", "image-text-to-text"]
POLL_S = 0.05
LAST_LINES = 4  # of the log of an export that failed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="folder with a model as Transformers saves it")
    parser.add_argument("out", type=Path, help="folder to export to; OUT.log beside it has what the exporter printed")
    parser.add_argument("--plain", action="store_true", help="optimum-cli without our change")
    parser.add_argument("--limit", type=float, metavar="GIB", help="of memory")
    parser.add_argument("--preset", choices=PRESETS, default="balanced", help="default: balanced")
    add_record(parser, records.EXPORTS)


def run(options: argparse.Namespace) -> int:
    check_record(options)
    script = PLAIN if options.plain else OURS
    asked = [*TASK, *as_flags(PRESETS[options.preset].options)]
    command = [sys.executable, *script, "export", "openvino", "--model", options.model, *asked, options.out]
    log = options.out.with_suffix(".log")
    started = time.monotonic()
    with limited(options.limit) as join, log.open("w") as output:
        environment = {**os.environ, **TELEMETRY_OFF}
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, preexec_fn=join, env=environment)
        anonymous, mapped = peaks_of(child)
    seconds = time.monotonic() - started
    print(f"exit code {child.returncode}, {seconds:.0f} s, peak {anonymous / 1e9:.2f} GB, files {mapped / 1e9:.2f} GB")
    if child.returncode != 0:
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise MeasurementError("\n    ".join(["there is no export:", *said[-LAST_LINES:]]))
    if options.record:
        row = {"memory_bytes": anonymous, "minutes": seconds / 60, "where": options.where}
        records.record(records.EXPORTS, options.record, row)
    return 0


def as_flags(preset: dict) -> list[str]:
    """["--weight-format", "int4", "--sym"] of {"weight-format": "int4", "sym": True}."""
    flags = [[f"--{name}"] if value is True else [f"--{name}", value] for name, value in preset.items()]
    return [part for flag in flags for part in flag]


def peaks_of(child: subprocess.Popen) -> tuple[int, int]:
    """The most bytes of anonymous memory and of mapped files that the child held, each at its own time."""
    process = psutil.Process(child.pid)
    most_anonymous = most_mapped = 0
    while child.poll() is None:
        anonymous, mapped = held_by(process)
        most_anonymous = max(most_anonymous, anonymous)
        most_mapped = max(most_mapped, mapped)
        time.sleep(POLL_S)
    return most_anonymous, most_mapped


def held_by(process: psutil.Process) -> tuple[int, int]:
    """Bytes of anonymous memory and of mapped files of a process and its children, now."""
    anonymous = mapped = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in [process, *process.children(recursive=True)]:
            memory = one.memory_info()
            anonymous += memory.rss - memory.shared
            mapped += memory.shared
    return anonymous, mapped


@contextlib.contextmanager
def limited(gigabytes: float | None) -> Iterator[Callable[[], None] | None]:
    """Yields what a child has to call first to live under the limit."""
    if gigabytes is None:
        yield None
        return
    CONTROL_GROUP.mkdir(exist_ok=True)
    (CONTROL_GROUP / "memory.limit_in_bytes").write_text(str(int(gigabytes * 2**30)))
    try:
        yield join_group
        peak = int((CONTROL_GROUP / "memory.max_usage_in_bytes").read_text())
        print(f"peak of the group: {peak / 1e9:.2f} GB, page cache included")
    finally:
        CONTROL_GROUP.rmdir()


def join_group() -> None:
    (CONTROL_GROUP / "cgroup.procs").write_text(str(os.getpid()))
