"""Fifty visitors of the chat page at once: `python -m tests.stress.crowd MODEL_DIR`.

What they do is in `visitors.py`. First each is answered alone; then all come at once, and every answer has to be the
same. The page has a process of its own, whose memory and threads are counted before and after.

Not here: engines side by side (`python -m benchmarks speed`).
"""

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import quantiles

from tabulate import tabulate

from adapters.library_telemetry import turn_off_library_telemetry
from benchmarks.options import add_model_dir
from benchmarks.processes import MEGABYTE, ROOT
from tests.stress.hostile import KINDS, Hostile
from tests.stress.visitors import VISITORS, Figures, alone, together, wrong

RUNS = ("All at once", "With those who mean harm")
SETTLED_S = 35  # after this long the server has ended the threads that it keeps for its next visitor, and forgotten
# the questions for whose answers nobody comes


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.stress.crowd", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_dir(parser)
    parser.add_argument("--visitors", type=int, default=VISITORS, help=f"default: {VISITORS}")
    parser.add_argument("--hostile", action="store_true", help="a fifth of them are hostile: compared with without")
    parser.add_argument("--kind", type=int, help="of hostility, by its number (hostile.py); default: all in turn")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    turn_off_library_telemetry()
    if options.serve:
        return serve(options.model_dir)
    hostile = options.visitors // 5 if options.hostile else 0
    peaceful = options.visitors - hostile
    with tempfile.TemporaryDirectory() as folder, page(options.model_dir, folder) as (url, counted):
        expected = alone(url, peaceful, Path(folder))
        counts = [counted()]
        runs = [together(url, peaceful, Path(folder))]
        counts.append(counted())
        if hostile:
            numbers = range(hostile) if options.kind is None else [options.kind + KINDS * n for n in range(hostile)]
            attackers = [Hostile(url, number, Path(folder), Figures()) for number in numbers]
            runs.append(together(url, peaceful, Path(folder), [attacker.attacks for attacker in attackers]))
            counts.append(counted())
    for name, figures, before, after in zip(RUNS, runs, counts, counts[1:], strict=False):
        print(f"\n{name}:\n{table(figures, expected, before, after)}")
    return int(any(wrong(figures, expected) for figures in runs))


def serve(model_dir: Path) -> int:
    """The child: prints the page's address, then for each line that it is sent its memory and threads."""
    from catalog.open import open_model
    from gradio_helper import make_demo

    demo = make_demo(*open_model(model_dir, "CPU"))
    demo.launch(prevent_thread_lock=True, quiet=True)
    print(demo.local_url, flush=True)
    for _ in sys.stdin:
        counts = {"memory": rss_mb(), "threads": threading.active_count(), "waiting": len(demo._queue)}
        print(json.dumps(counts), flush=True)
    demo.close()
    return 0


@contextlib.contextmanager
def page(model_dir: Path, folder: str) -> Iterator[tuple[str, Callable[[], dict]]]:
    """The page's address, and what counts its memory and threads when it has come to rest."""
    command = [sys.executable, "-m", "tests.stress.crowd", str(model_dir.resolve()), "--serve"]
    environment = os.environ | {"GRADIO_TEMP_DIR": folder}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:

        def counted() -> dict:
            time.sleep(SETTLED_S)
            print(file=child.stdin, flush=True)
            return json.loads(child.stdout.readline())

        url = next((line.strip() for line in child.stdout if line.startswith("http")), None)
        if url is None:
            raise RuntimeError(f"The page did not start: its process ended with status {child.wait()}.")
        yield url, counted
        child.stdin.close()


def rss_mb() -> float | None:
    """What this process holds now; None where the system does not say it in a file."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEGABYTE
    except OSError:
        return None


def table(figures: Figures, expected: Figures, before: dict, after: dict) -> str:
    cuts = quantiles(figures.first_token_s, n=20)
    memory = [f"{counts['memory'] or math.nan:.0f} MB" for counts in (before, after)]
    rows = {
        "requests": figures.requests,
        "wrong answers": f"{len(wrong(figures, expected))} of {len(expected.answers)}",
        "longest queue": figures.longest_queue,
        "first token, p50 and p95": f"{cuts[9]:.1f} s and {cuts[18]:.1f} s",
        "memory, before and after": " and ".join(memory),
        "threads, before and after": f"{before['threads']} and {after['threads']}",
        "questions that still wait": after["waiting"],
    }
    return tabulate(list(rows.items()), ["visitors at once", ""], tablefmt="github", disable_numparse=True)


if __name__ == "__main__":
    sys.exit(main())
