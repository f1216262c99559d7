"""What each preset of `catalog/presets.py` costs and keeps: `python benchmarks/presets.py RANDOM_2B [--count N]`.

Size, memory and speed on a model of random weights in the 2B shape (`random_model.py`), where they do not depend on
what the weights are; answers of the practice model, N held-out questions of each kind: how many are right, and how many
are those of the original weights. That ranks presets on a toy of two million parameters, and predicts nothing for 2B.
Writes benchmarks/results/presets.json. Exports go to build/presets/; one that is there is not made again.
"""

import argparse
import json
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, the helpers lie one above

from benchmarks.processes import in_own_process, report  # noqa: E402
from catalog.choices import PRACTICE_DIR  # noqa: E402
from catalog.on_disk import size_of  # noqa: E402
from catalog.presets import MEASURED, PRESETS, Preset  # noqa: E402
from environment.telemetry import turn_off_library_telemetry  # noqa: E402

EXPORTS = ROOT / "build" / "presets"
BENCHMARK = str(ROOT / "benchmarks" / "benchmark.py")


def main() -> None:
    options = read_options()
    turn_off_library_telemetry()
    if options.answer:
        return report(answer(options.answer, options.count))
    original = answered(PRACTICE_DIR, options.count)
    print(f"original: {original['right']:.1%} right", flush=True)
    rows = {}
    for name, preset in PRESETS.items():
        rows[name] = measure(export(options.model, "2b", preset)) | compared(preset, options.count, original["texts"])
        print(name, rows[name], flush=True)
    MEASURED.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def export(source: Path, name: str, preset: Preset) -> Path:
    from cmd_helper import optimum_cli

    output = EXPORTS / name / preset.folder
    if not output.exists():
        optimum_cli(source, output, additional_args=preset.options)
    return output


def measure(folder: Path) -> dict[str, float]:
    """Size, speed and memory of a session on an export of 2B."""
    counts = ["--repetitions", "2", "--new-tokens", "32"]
    row = in_own_process(BENCHMARK, [str(folder), "--child", "session", *counts])["row"]
    return {"disk_gb": size_of(folder) / 1e9, "memory_gb": row["peak_rss_mb"] / 1e3,
            "first_word_s": row["ttft_turn1_s"], "tokens_s": row["decode_tok_s"]}


# ---- the practice model's answers ------------------------------------------------------------------------------------


def answered(folder: Path, count: int) -> dict:
    """{"texts": all answers of the model in `folder`, "right": the share that is}, from a process of its own."""
    return in_own_process(__file__, ["--answer", str(folder), "--count", str(count)])


def answer(folder: Path, count: int) -> dict:
    """The child's part: every kind of question but photographs, which need packages of their own."""
    from tiny_model import evaluate

    rng = random.Random(f"{evaluate.HELD_OUT} presets")
    cases = [evaluate.make_case(rng, kind) for kind in evaluate.KINDS if kind != "photo" for _ in range(count)]
    texts = evaluate.answers(*evaluate.load(folder), cases)
    right = sum(map(evaluate.is_right, cases, texts)) / len(cases)
    return {"texts": texts, "right": right}


def compared(preset: Preset, count: int, original: list[str]) -> dict[str, float]:
    """How many of the preset's answers are right, and how many are the original's."""
    found = answered(export(PRACTICE_DIR, "practice", preset), count)
    same = sum(a == b for a, b in zip(found["texts"], original, strict=True)) / len(original)
    return {"right": found["right"], "same": same}


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", metavar="RANDOM_2B", help="what random_model.py wrote")
    parser.add_argument("--count", type=int, default=100, help="questions of each kind; default: 100")
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
