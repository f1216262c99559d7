"""Write the measured figures into ../README.md: `python -m tiny_model.training.report`, after training and evaluation.

Reads accuracy-original.json and accuracy-int4.json (of `tiny_model.evaluate --json`) and log.jsonl (of
`training.train`), all beside that README; replaces its text between the `<!-- figures -->` marks. Types no number by
hand, measures nothing.
"""

import json
from pathlib import Path

from tabulate import tabulate

FOLDER = Path(__file__).parent.parent  # tiny_model/
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
OLDER_NAMES = {  # of rows in files of figures that are kept as they were measured: {there: `evaluate.BUDGETS` today}
    "the seed's cell (256 to 1280)": "256 to 1280, as in the tutorial this one follows",
}
LEARNED = ("colour", "shape", "count", "where", "describe", "pair", "video")
MAX_LOG_ROWS = 20  # about so many are shown


def markdown_table(headers: list[str], rows: list[list[str]]) -> str:
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def accuracy_table(original: dict, int4: dict) -> str:
    """A row for each kind of question: right answers of the original model and of its INT4 export."""
    rows = []
    for kind, share in original["accuracy"].items():
        rows.append([NAMES[kind], percent(share), percent(int4["accuracy"][kind])])
    refused = [percent(accuracy["scenes refused"]) for accuracy in (original, int4)]
    rows.append(["drawn scene refused (less is better)", *refused])
    return markdown_table(["asked", "original", "INT4"], rows)


def robustness_table(shares: dict[str, dict[str, float]]) -> str:
    """A row for each budget and each change of the pictures: right answers by kind of question."""
    kinds = list(next(iter(shares.values())))
    rows = []
    for name, by_kind in shares.items():
        rows.append([OLDER_NAMES.get(name, name), *(percent(by_kind[kind]) for kind in kinds)])
    return markdown_table(["pictures", *kinds], rows)


def log_table(log: list[dict]) -> str:
    """About MAX_LOG_ROWS rows of the training log: the loss, and the share of training questions answered exactly at
    that time.
    """
    every = max(50, 50 * round(len(log) / MAX_LOG_ROWS))  # steps
    rows = []
    for entry in log:
        if entry["step"] % every == 0 or entry["step"] == entry["of"]:
            loss = entry.get("loss", entry.get("dense"))
            shares = [percent(entry["exact"][kind]) if kind in entry["exact"] else "" for kind in LEARNED]
            rows.append([f"{entry['stage']}, {entry['step']}", f"{loss:.3f}", *shares])
    return markdown_table(["stage, step", "loss", *LEARNED], rows)


def numbered(log: list[dict]) -> list[dict]:
    """The log with "joint", "joint 2", … for the rounds of the joint stage, each of which counts its steps anew."""
    entries: list[dict] = []
    number = 1
    for entry in log:
        if entries and entry["step"] < entries[-1]["step"] and entries[-1]["stage"] != "vision":
            number += 1
        entries.append(entry | {"stage": entry["stage"] if number == 1 else f"joint {number}"})
    return entries


def figures() -> str:
    """The README's part that is printed by this script."""
    original, int4 = (json.loads((FOLDER / f"accuracy-{name}.json").read_text()) for name in ("original", "int4"))
    log = [json.loads(line) for line in (FOLDER / "log.jsonl").read_text().splitlines()]
    asked, fewer = original["questions of each kind"], int4["robustness questions"]
    return "\n\n".join(
        [
            f"Right answers in %, {asked} held-out questions of each kind, pictures of 112 to 336 pixels a side:",
            accuracy_table(original, int4),
            f"The INT4 export at other visual token budgets and on changed pictures, {fewer} questions of each kind:",
            robustness_table(int4["robustness"]),
            "The training log: the share of fresh training questions, about pictures of all sizes, answered exactly "
            "(boxes are left out: to the exact coordinate is more than what is asked of them). “Vision” and “joint” "
            "are the two stages described below, “joint 2” and so on further rounds of the second:",
            log_table(numbered(log)),
        ]
    )


def put_between(marks: tuple[str, str], text: str, file: Path) -> None:
    """Replace what stands in `file` between the two marks."""
    old = file.read_text(encoding="utf-8")
    before, after = old.split(marks[0])[0], old.split(marks[1])[1]
    file.write_text(f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{after}", encoding="utf-8")


def main() -> None:
    put_between(MARKS, figures(), FOLDER / "README.md")


if __name__ == "__main__":
    main()
