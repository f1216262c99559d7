"""Fifty visitors of the chat page at once: `python tests/stress/crowd.py MODEL_DIR`.

What they do is in `visitors.py`. First each is answered alone; then all come at once, and every answer has to be the
same. The page has a process of its own, whose memory and threads are counted before and after.

Not here: engines side by side (`benchmark.py`).
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

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, the helpers lie one above

from benchmarks.processes import MEGABYTE, why_no_model  # noqa: E402
from environment.telemetry import turn_off_library_telemetry  # noqa: E402
from tests.stress.visitors import VISITORS, Figures, alone, together, wrong  # noqa: E402

SETTLED_S = 12  # after this long the server has ended the threads that it keeps for its next visitor


def main() -> int:
    options = read_options()
    turn_off_library_telemetry()
    if options.serve:
        return serve(options.model_dir)
    with tempfile.TemporaryDirectory() as folder, page(options.model_dir, folder) as (url, counted):
        expected = alone(url, options.visitors, Path(folder))
        before = counted()
        figures = together(url, options.visitors, Path(folder))
        after = counted()
    print(*table(figures, expected, before, after), sep="\n")
    return int(bool(wrong(figures, expected)))


def serve(model_dir: Path) -> int:
    """The child: prints the page's address, then for each line that it is sent its memory and threads."""
    from optimum.intel.openvino import OVModelForVisualCausalLM
    from transformers import AutoProcessor

    from gradio_helper import make_demo

    model = OVModelForVisualCausalLM.from_pretrained(model_dir, device="CPU", compile=False)
    demo = make_demo(model, AutoProcessor.from_pretrained(model_dir))
    demo.launch(prevent_thread_lock=True, quiet=True)
    print(demo.local_url, flush=True)
    for _ in sys.stdin:
        print(json.dumps({"memory": rss_mb(), "threads": threading.active_count()}), flush=True)
    demo.close()
    return 0


@contextlib.contextmanager
def page(model_dir: Path, folder: str) -> Iterator[tuple[str, Callable[[], dict]]]:
    """The page's address, and what counts its memory and threads when it has come to rest."""
    command = [sys.executable, __file__, str(model_dir), "--serve"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, **pipes, env=os.environ | {"GRADIO_TEMP_DIR": folder}) as child:

        def counted() -> dict:
            time.sleep(SETTLED_S)
            print(file=child.stdin, flush=True)
            return json.loads(child.stdout.readline())

        yield next(line.strip() for line in child.stdout if line.startswith("http")), counted
        child.stdin.close()


def rss_mb() -> float | None:
    """What this process holds now; None where the system does not say it in a file."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEGABYTE
    except OSError:
        return None


def table(figures: Figures, expected: Figures, before: dict, after: dict) -> list[str]:
    cuts = quantiles(figures.first_token_s, n=20)
    rows = {
        "requests": figures.requests,
        "wrong answers": f"{len(wrong(figures, expected))} of {len(expected.answers)}",
        "longest queue": figures.longest_queue,
        "first token, p50 and p95": f"{cuts[9]:.1f} s and {cuts[18]:.1f} s",
        "memory, before and after": " and ".join(f"{c['memory'] or math.nan:.0f} MB" for c in (before, after)),
        "threads, before and after": f"{before['threads']} and {after['threads']}",
    }
    return [f"| {name} | {value} |" for name, value in {"visitors at once": "", "---": "---", **rows}.items()]


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=Path, metavar="MODEL_DIR", help="folder with an exported Qwen2-VL")
    parser.add_argument("--visitors", type=int, default=VISITORS, help=f"default: {VISITORS}")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if missing := why_no_model(options.model_dir):
        parser.error(missing)
    return options


if __name__ == "__main__":
    sys.exit(main())
