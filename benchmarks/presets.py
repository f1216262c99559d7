"""What each preset of `catalog/presets.py` costs and keeps: `python -m benchmarks presets RANDOM_2B [--count N]`.

Size, memory and speed on a model of random weights in the 2B shape (`random_model.py`), where they do not depend on
what the weights are; answers of the practice model, N held-out questions of each kind: how many are right, and how many
are those of the original weights. That ranks presets on a toy, and predicts nothing for 2B.
Writes benchmarks/results/presets.json. Exports go to build/presets/; one that is there is not made again.
"""

import argparse
import random
from pathlib import Path

from benchmarks import records
from benchmarks.options import add_child
from benchmarks.processes import ROOT, needed, report

EXPORTS = ROOT / "build" / "presets"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="RANDOM_2B", help="what the command random-model wrote")
    parser.add_argument("--count", type=int, default=100, help="questions of each kind; default: 100")
    add_child(parser)


def run(options: argparse.Namespace) -> int:
    from catalog.choices import PRACTICE_DIR
    from catalog.presets import PRESETS

    if options.child:
        return report(answers(options.model, options.count))
    original = answered(PRACTICE_DIR, options.count)
    print(f"original: {original['right']:.1%} right", flush=True)
    rows = {}
    for name, preset in PRESETS.items():
        costs = measured(export(options.model, "2b", preset))
        quality = compared(export(PRACTICE_DIR, "practice", preset), options.count, original["texts"])
        rows[name] = {**costs, **quality}
        print(name, rows[name], flush=True)
    records.write(records.PRESETS, rows)
    return 0


def export(source: Path, name: str, preset) -> Path:
    """preset: a `catalog.presets.Preset`."""
    from cmd_helper import optimum_cli

    output = EXPORTS / name / preset.folder
    if not output.exists():
        optimum_cli(source, output, additional_args=preset.options)
    return output


def measured(folder: Path) -> dict[str, float]:
    """Size, speed and memory of a session on an export of 2B."""
    from catalog.on_disk import size_of

    row = needed("speed", [folder, "--child", "session", "--repetitions", 2, "--new-tokens", 32])["row"]
    return {
        "disk_gb": size_of(folder) / 1e9,
        "memory_gb": row["peak_rss_mb"] / 1e3,
        "first_word_s": row["ttft_turn1_s"],
        "tokens_s": row["decode_tok_s"],
    }


# ---- the practice model's answers ------------------------------------------------------------------------------------


def compared(folder: Path, count: int, original: list[str]) -> dict[str, float]:
    """How many of a preset's answers are right, and how many are the original's."""
    found = answered(folder, count)
    same = sum(a == b for a, b in zip(found["texts"], original, strict=True))
    return {"right": found["right"], "same": same / len(original)}


def answered(folder: Path, count: int) -> dict:
    """{"texts": all answers of the model in `folder`, "right": the share that is}, from a process of its own."""
    return needed("presets", [folder, "--child", "answers", "--count", count])


def answers(folder: Path, count: int) -> dict:
    """The child's part: every kind of question but photographs, which need packages of their own."""
    from tiny_model import evaluate

    rng = random.Random(f"{evaluate.HELD_OUT} presets")
    kinds = [kind for kind in evaluate.KINDS if kind != "photo"]
    cases = [evaluate.make_case(rng, kind) for kind in kinds for _ in range(count)]
    texts = evaluate.answers(*evaluate.load(folder), cases)
    right = sum(map(evaluate.is_right, cases, texts))
    return {"texts": texts, "right": right / len(cases)}
