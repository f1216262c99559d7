"""How long until the first word? Engines side by side: `python benchmarks/speed.py MODEL_DIR`.

Each runs in a process of its own and is asked the same (`scenario.py`): a question about a picture, a follow-up, the
first question again (retry), another question about the same picture, and a question about a picture that was
prepared. ttft: seconds from asking to the first token, the median of warm repetitions, each with pictures of its own.

What counts is a ratio within one run. Not here: quality of answers, several visitors at once, videos (`video.py`).
"""

import argparse
import importlib
import importlib.util
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, the helpers lie one above

from benchmarks.processes import in_own_process, peak_rss_mb, report, why_no_model  # noqa: E402
from benchmarks.scenario import figures, repetition, tokens, warm_up  # noqa: E402
from benchmarks.tables import combined, summary  # noqa: E402
from environment.telemetry import turn_off_library_telemetry  # noqa: E402

ENGINES = {  # module and class; imported in the child only
    "generate": ("engine_generate", "Engine"),
    "session": ("engine_session", "Engine"),
    "genai-pa": ("engine_genai", "PagedAttention"),
    "genai-sdpa": ("engine_genai", "Stateful"),
    "pytorch": ("engine_pytorch", "Engine"),
}
OPTIONAL = ("genai-pa", "genai-sdpa")  # need requirements-bench.txt, and may not open every folder


def main() -> int:
    options = read_options()
    turn_off_library_telemetry()
    if options.child:
        report(measure_or_say_why_not(options))
        return 0
    reports = {engine: [] for engine in options.engines}
    for number in range(options.rounds):
        for engine in options.engines[:: -1 if number % 2 else 1]:
            print(f"round {number + 1} of {options.rounds}: {engine} ...", file=sys.stderr, flush=True)
            reports[engine].append(in_own_process(__file__, child_arguments(options, engine)))
    rows = [combined(engine, reports[engine]) for engine in options.engines]
    print(*summary(rows, reports), sep="\n")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    if options.plot:
        from benchmarks.plot import plot

        plot(rows, options.plot)
    return int(any("reason" in found for engine in reports if engine not in OPTIONAL for found in reports[engine]))


# ---- the child: one engine ------------------------------------------------------------------------------------------


def measure_or_say_why_not(options) -> dict:
    """Of what we do not maintain, any error is a result; ours are bugs, and end with a traceback."""
    if options.child not in OPTIONAL:
        return measure(options)
    try:
        return measure(options)
    except ImportError as error:
        return {"reason": f"{error}; install it with `pip install -r requirements-bench.txt`"}
    except Exception as error:
        return {"reason": f"{type(error).__name__}: " + " ".join(str(error).split())[:300]}


def measure(options) -> dict:
    """One row, and the token counts and answers behind it. Imports are not timed."""
    module, name = ENGINES[options.child]
    load = getattr(importlib.import_module(f"benchmarks.{module}"), name)
    began = time.perf_counter()
    engine = load(options.model_dir, options.weights)
    load_s = time.perf_counter() - began
    warm_up(engine, options.new_tokens)
    repetitions = [repetition(engine, number, options.new_tokens) for number in range(options.repetitions)]
    row = {"load_s": load_s, **figures(repetitions), "peak_rss_mb": peak_rss_mb()}
    texts = [{name: reply.text for name, reply in replies.items()} for replies in repetitions]
    return {"row": row, "tokens": tokens(repetitions[0]), "texts": texts}


# ---- options --------------------------------------------------------------------------------------------------------


def child_arguments(options, engine: str) -> list[str]:
    counts = ["--repetitions", str(options.repetitions), "--new-tokens", str(options.new_tokens)]
    weights = ["--weights", str(options.weights)] if options.weights else []
    return [str(options.model_dir), "--child", engine, *counts, *weights]


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=Path, metavar="MODEL_DIR", help="folder with an exported Qwen2-VL")
    parser.add_argument("--engines", type=lambda text: text.split(","), default=["generate", "session"],
                        metavar="A,B", help=f"of {', '.join(ENGINES)}; default: generate,session")  # fmt: skip
    parser.add_argument("--weights", type=Path, metavar="DIR", help="original weights, for pytorch")
    parser.add_argument("--repetitions", type=int, default=3, help="warm ones in each process; default: 3")
    parser.add_argument("--new-tokens", type=int, default=32, help="of every answer; default: 32")
    parser.add_argument("--rounds", type=int, default=1, help="through all engines, to and fro; default: 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the seconds to the first token there, a PNG")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if mistake := what_is_wrong(options):
        parser.error(mistake)
    return options


def what_is_wrong(options) -> str | None:
    """Said before the first measurement, not after the last."""
    if unknown := [name for name in options.engines if name not in ENGINES]:
        return f"there is no engine {unknown[0]!r}; there are {', '.join(ENGINES)}."
    if "pytorch" in options.engines and not options.weights:
        return "the engine pytorch needs --weights DIR, the folder of the original weights."
    if missing := why_no_model(options.model_dir):
        return missing
    if options.repetitions < 1 or options.rounds < 1 or options.new_tokens < 2:
        return "--repetitions and --rounds must be at least 1, --new-tokens at least 2."
    for path in filter(None, (options.json, options.plot)):
        if not path.resolve().parent.is_dir():
            return f"{path} cannot be written, because there is no folder {path.resolve().parent}."
    if options.plot and not importlib.util.find_spec("matplotlib"):
        return "--plot needs matplotlib: pip install -r requirements-bench.txt"
    return None


if __name__ == "__main__":
    sys.exit(main())
