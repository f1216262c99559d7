"""Write the measured figures into README.md: `python benchmarks/report.py`, after `benchmark.py ... --json`,
`guesses.py` and `serving.py`.

Reads results/speed-2b.json, results/drafts.json and results/serving.json beside this file, which those wrote; replaces the
text of README.md between its marks. Types no number by hand, measures nothing.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, the helpers lie one above

from benchmarks.serving import RESULTS as SERVING  # noqa: E402
from benchmarks.serving import capacity, table  # noqa: E402
from benchmarks.tables import BASE, shown  # noqa: E402
from tiny_model.training.report import put_between  # noqa: E402

RESULTS = Path(__file__).parent / "results/speed-2b.json"
GUESSES = Path(__file__).parent / "results/drafts.json"
MARKS = ("<!-- speed -->", "<!-- end of speed -->")
SERVING_MARKS = ("<!-- serving -->", "<!-- end of serving -->")
GUESSES_MARKS = ("<!-- guesses -->", "<!-- end of guesses -->")
COLUMNS = {
    "load_s": "load, s", "ttft_turn1_s": "first turn, s", "ttft_turn2_s": "second turn, s", "ttft_retry_s": "retry, s",
    "ttft_same_image_s": "same picture, new chat, s", "ttft_prepared_s": "picture looked at before, s",
    "decode_tok_s": "tokens/s", "peak_rss_mb": "peak memory, MB",
}  # fmt: skip
NAMES = {"generate": "`model.generate`", "session": "`ChatSession`"}


def figures() -> str:
    """One row per engine; behind each figure of ours, in brackets, its ratio to generate's."""
    rows = json.loads(RESULTS.read_text())
    base = next(row for row in rows if row["engine"] == BASE)
    lines = [f"| | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for row in rows:
        cells = [shown(row[key]) + ratio(row, base, key) for key in COLUMNS]
        lines.append(f"| {NAMES.get(row['engine'], row['engine'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ratio(row: dict, base: dict, key: str) -> str:
    known = row["engine"] == "session" and row[key] and base[key]
    return f" ({row[key] / base[key]:.2g} ×)" if known else ""


def guesses() -> str:
    """What reading several tokens at once costs, and how many guesses stood, by what was asked."""
    found = json.loads(GUESSES.read_text())
    one, *more = found["milliseconds"].values()
    lines = [f"| {' | '.join(['', *(row['asked'] for row in found['asked'])])} |"]
    lines.append("|---" * (len(found["asked"]) + 1) + "|")
    names = {"tokens a step": "tokens a step", "speed on MODEL_DIR": "speed of the 2B shape, if as many stand, ×"}
    for name, said in names.items():
        lines.append(f"| {' | '.join([said, *(f'{row[name]:.2f}' for row in found['asked'])])} |")
    costs = ", ".join(f"{tokens} tokens {ms / one:.2f}" for tokens, ms in enumerate(more, 2))
    return "\n".join([*lines, "", f"To read several tokens at once takes the 2B shape, times one token: {costs}."])


def serving() -> str:
    """Visitors over replicas; what the way to a replica costs; how many visitors machines carry."""
    found = json.loads(SERVING.read_text())
    direct, remote = found["overhead"]["direct"], found["overhead"]["remote"]
    first, further = (f"{remote[name] - direct[name]:.1f} ms" for name in direct)
    pauses = ", ".join(f"{seconds:g} s" for seconds in found["pause of a lost replica, s"] if seconds)
    way = f"For one visitor, the way to a replica adds {first} to the first token and {further} to each further one."
    lost = f"An answer whose replica is killed pauses for {pauses}."
    formula, assumed, *machines = capacity()
    carried = f"*{formula}*. {assumed}: {', '.join(machines)}."
    return "\n".join([*table(found["crowd"]), "", f"{way} {lost}", "", carried])


def main():
    put_between(MARKS, figures(), ROOT / "README.md")
    put_between(GUESSES_MARKS, guesses(), ROOT / "README.md")
    put_between(SERVING_MARKS, serving(), ROOT / "README.md")


if __name__ == "__main__":
    main()
