"""Write the measured figures into README.md: `python -m tiny_model.report` (after train.py and evaluate.py).

Reads accuracy-original.json and accuracy-int4.json (evaluate.py --json) and log.jsonl (train.py), all beside this file; replaces the
README's text between `<!-- figures -->` marks and draws curve.svg. Types no number by hand, measures nothing.
"""

import json
from pathlib import Path

FOLDER = Path(__file__).parent
MARKS = ("<!-- figures -->", "<!-- end of figures -->")
NAMES = {
    "describe": "describe (every colour, shape and place)", "colour": "what colour", "shape": "what shape", "count": "how many",
    "where": "where", "locate": "locate (IoU ≥ 0.5)", "is_there": "is there a …?", "follow_up": "follow-ups", "pair": "two pictures",
    "video": "a short video", "off_topic": "off-topic question refused", "photo": "photograph refused",
}  # fmt: skip


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
    return "\n".join([*lines, *(f"| {name} | " + " | ".join(percent(row[k]) for k in kinds) + " |" for name, row in rows.items())])


def curve(rows: list[dict], width: int = 640, height: int = 220) -> str:
    """An SVG line of the loss of both stages against the steps, each stage scaled to its own part of the width."""
    total, top = sum(max(r["step"] for r in rows if r["stage"] == s) for s in {r["stage"] for r in rows}), max(r["loss"] for r in rows)
    offset, parts = 0, []
    for stage, colour in (("vision", "#0a7"), ("joint", "#05a")):
        points = [(offset + r["step"], r["loss"]) for r in rows if r["stage"] == stage]
        offset = points[-1][0]
        line = " ".join(f"{40 + x / total * (width - 50):.0f},{height - 30 - y / top * (height - 50):.0f}" for x, y in points)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{line}"/>')
        parts.append(f'<text x="{40 + (points[0][0] / total) * (width - 50):.0f}" y="14" fill="{colour}">{stage}</text>')
    axes = f'<path d="M40 20V{height - 30}H{width - 10}" fill="none" stroke="#888"/>'
    labels = f'<text x="4" y="30">{top:.1f}</text><text x="4" y="{height - 30}">0</text><text x="{width - 90}" y="{height - 10}">{total} steps</text>'
    style = 'font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {style}>{axes}{labels}{"".join(parts)}</svg>\n'


def figures() -> str:
    """The README's part that is printed by scripts."""
    original, int4 = (json.loads((FOLDER / f"accuracy-{name}.json").read_text()) for name in ("original", "int4"))
    count = original["questions of each kind"]
    return "\n\n".join([
        f"Right answers in %, {count} held-out questions of each kind, pictures of 112 to 336 pixels a side:",
        accuracy_table(original, int4),
        f"The INT4 export at other budgets and on changed pictures, {int4['robustness questions']} questions of each kind:",
        robustness_table(int4["robustness"]),
    ])  # fmt: skip


def main():
    rows = [json.loads(line) for line in (FOLDER / "log.jsonl").read_text().splitlines()]
    (FOLDER / "curve.svg").write_text(curve(rows), encoding="utf-8")
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    before, after = readme.split(MARKS[0])[0], readme.split(MARKS[1])[1]
    (FOLDER / "README.md").write_text(f"{before}{MARKS[0]}\n\n{figures()}\n\n{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
