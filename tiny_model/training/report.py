"""Write the measured figures into README.md: `python -m tiny_model.training.report` (after train.py and evaluate.py).

Reads accuracy-original.json and accuracy-int4.json (evaluate.py --json) and log.jsonl (train.py), all beside this
file; replaces the README's text between `<!-- figures -->` marks. Types no number by hand,
measures nothing.
"""

import json
from pathlib import Path

FOLDER = Path(__file__).parent
MARKS = ("<!-- figures -->", "<!-- end of figures -->")
NAMES = {
    "describe": "describe (every colour, shape and place)",
    "colour": "what colour",
    "shape": "what shape",
    "count": "how many",
    "where": "where",
    "locate": "locate (IoU ≥ 0.5)",
    "is_there": "is there a …?",
    "follow_up": "follow-ups",
    "conversation": "one more question, after a description or a follow-up",
    "chat": "one more question, after five to ten others",
    "pair": "two pictures",
    "new_picture": "a second picture later on, or both",
    "video": "a short video",
    "off_topic": "off-topic question refused",
    "photo": "photograph refused",
}
LEARNED = ("colour", "shape", "count", "where", "describe", "pair", "video")


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def accuracy_table(original: dict, int4: dict) -> str:
    lines = ["| asked | original | INT4 |", "|---|---|---|"]
    for kind, share in original["accuracy"].items():
        lines.append(f"| {NAMES[kind]} | {percent(share)} | {percent(int4['accuracy'][kind])} |")
    refused = [percent(r["scenes refused"]) for r in (original, int4)]
    return "\n".join([*lines, f"| drawn scene wrongly refused | {refused[0]} | {refused[1]} |"])


def robustness_table(rows: dict) -> str:
    kinds = next(iter(rows.values()))
    lines = ["| pictures | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    return "\n".join(
        [*lines, *(f"| {name} | " + " | ".join(percent(row[k]) for k in kinds) + " |" for name, row in rows.items())]
    )


def curve_table(rows: list[dict], most: int = 20) -> str:
    """About `most` rows of the training log: loss, and the share of training questions answered exactly at that
    time.
    """
    shown = [r for r in rows if r["step"] % max(50, 50 * round(len(rows) / most)) == 0 or r["step"] == r["of"]]
    lines = ["| stage, step | loss | " + " | ".join(LEARNED) + " |", "|---" * (len(LEARNED) + 2) + "|"]
    for row in shown:
        shares = (percent(row["exact"][kind]) if kind in row["exact"] else "" for kind in LEARNED)
        loss = row.get("loss", row.get("dense"))
        lines.append(f"| {row['stage']}, {row['step']} | {loss:.3f} | " + " | ".join(shares) + " |")
    return "\n".join(lines)


def numbered(rows: list[dict]) -> list[dict]:
    """The log with "joint", "joint 2", … for the rounds of the joint stage, each of which counts its steps anew."""
    out, number = [], 1
    for row in rows:
        begins = out and row["step"] < out[-1]["step"] and out[-1]["stage"] != "vision"
        number += bool(begins)
        out.append(row | {"stage": row["stage"] if number == 1 else f"joint {number}"})
    return out


def figures() -> str:
    """The README's part that is printed by scripts."""
    original, int4 = (json.loads((FOLDER / f"accuracy-{name}.json").read_text()) for name in ("original", "int4"))
    log = [json.loads(line) for line in (FOLDER / "log.jsonl").read_text().splitlines()]
    asked, fewer = original["questions of each kind"], int4["robustness questions"]
    return "\n\n".join(
        [
            f"Right answers in %, {asked} held-out questions of each kind, pictures of 112 to 336 pixels a side:",
            accuracy_table(original, int4),
            f"The INT4 export at other budgets and on changed pictures, {fewer} questions of each kind:",
            robustness_table(int4["robustness"]),
            "The training log: the share of fresh training questions, about pictures of all sizes, answered exactly "
            "(boxes are left out: to the exact coordinate is more than what is asked of them):",
            curve_table(numbered(log)),
        ]
    )


def put_between(marks: tuple[str, str], text: str, file: Path) -> None:
    """Replace what stands in `file` between the two marks."""
    old = file.read_text(encoding="utf-8")
    before, after = old.split(marks[0])[0], old.split(marks[1])[1]
    file.write_text(f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{after}", encoding="utf-8")


def main():
    put_between(MARKS, figures(), FOLDER / "README.md")


if __name__ == "__main__":
    main()
