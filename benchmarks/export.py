"""How much memory and time an export takes: `python benchmarks/export.py MODEL OUT`, on Linux.

Once by `optimum-cli` as it comes (`--plain`), once as this tutorial runs it, to see what `export/small_trace.py` spares.
Prints one line: seconds, the peak of anonymous memory (what the process wrote itself) and of the files that it mapped
(which the system drops when memory is short). `--limit GB` runs it in a memory control group of that size, where page
cache counts too; that needs root and cgroup v1. Not here: comparing what was written.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
GROUP = Path("/sys/fs/cgroup/memory/export_memory")
PLAIN, OURS = ["-m", "optimum.commands.optimum_cli"], [str(ROOT / "tutorial" / "exporter.py")]
EVERY_S = 0.05


def held(process: psutil.Process) -> tuple[int, int]:
    """Bytes of (anonymous memory, mapped files) of a process and its children."""
    anonymous = mapped = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in [process, *process.children(recursive=True)]:
            memory = one.memory_info()
            anonymous, mapped = anonymous + memory.rss - memory.shared, mapped + memory.shared
    return anonymous, mapped


def watch(child: subprocess.Popen) -> tuple[int, int]:
    """The peaks of both, until the child ends."""
    process, peaks = psutil.Process(child.pid), (0, 0)
    while child.poll() is None:
        peaks = tuple(map(max, peaks, held(process)))
        time.sleep(EVERY_S)
    return peaks


def join_group() -> None:
    (GROUP / "cgroup.procs").write_text(str(os.getpid()))


@contextlib.contextmanager
def limited(gigabytes: float | None):
    """Yields what a child has to call first to live under the limit."""
    if gigabytes is None:
        yield None
        return
    GROUP.mkdir(exist_ok=True)
    (GROUP / "memory.limit_in_bytes").write_text(str(int(gigabytes * 2**30)))
    try:
        yield join_group
        peak = int((GROUP / "memory.max_usage_in_bytes").read_text())
        print(f"peak of the group: {peak / 1e9:.2f} GB, page cache included")
    finally:
        GROUP.rmdir()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--plain", action="store_true", help="optimum-cli without our change")
    parser.add_argument("--limit", type=float, help="GiB")
    options = parser.parse_args()
    command = [sys.executable, *(PLAIN if options.plain else OURS), "export", "openvino", "--model", options.model]
    command += ["--task", "image-text-to-text", "--weight-format", "int4", options.out]
    began = time.monotonic()
    with limited(options.limit) as first:
        log = options.out.with_suffix(".log").open("w")
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, preexec_fn=first,
                                 env={**os.environ, "CI": "true"})
        anonymous, mapped = watch(child)
    seconds = time.monotonic() - began
    print(f"exit code {child.returncode}, {seconds:.0f} s, peak {anonymous / 1e9:.2f} GB, files {mapped / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
