"""From what the children of `speed` report to what is printed: medians over rounds, tables, ratios.

A report is {"row": figures, "tokens": counts by situation, "texts": answers by situation, for each repetition}, or
{"reason": why there are none}. Not here: how a report comes about.
"""

from collections.abc import Iterator
from statistics import median

from tabulate import tabulate

from benchmarks.scenario import KEYS

BASE = "generate"  # what the others are divided by


def combined(engine: str, reports: list[dict]) -> dict:
    """One row, medians of an engine's rounds; None for what it could not do."""

    def middle(key: str) -> float | None:
        values = [report["row"][key] for report in reports if "row" in report and report["row"][key] is not None]
        return median(values) if values else None

    return {"engine": engine, **{key: middle(key) for key in KEYS[1:]}}


def summary(rows: list[dict], reports: dict[str, list[dict]]) -> Iterator[str]:
    """The lines that are printed. reports: of each engine, its rounds."""
    yield from ("", table(rows), "")
    good = {engine: [report for report in rounds if "row" in report] for engine, rounds in reports.items()}
    for engine, rounds in reports.items():
        yield from [f"{engine}: {report['reason']}" for report in rounds if "reason" in report][:1]
        yield from [f"{engine}: {prompts(report['tokens'])}" for report in good[engine][:1]]
    if not good.get(BASE):
        return
    others = [row for row in rows if row["engine"] != BASE and good[row["engine"]]]
    for row in others:
        yield f"{row['engine']}: {agreement(good[row['engine']][0]['texts'], good[BASE][0]['texts'])}"
    if others:
        base = next(row for row in rows if row["engine"] == BASE)
        yield from ("", f"Divided by {BASE}'s figures of this run:", "", table([divided(row, base) for row in others]))


def prompts(tokens: dict[str, dict]) -> str:
    """How long the prompts were: between engines, these should be the same."""
    turn1, turn2 = tokens["turn1"], tokens["turn2"]
    visual = "" if turn1["visual_tokens"] is None else f", {turn1['visual_tokens']} of them visual"
    cached = "" if turn2["cached_tokens"] is None else f", {turn2['cached_tokens']} of them cached"
    return f"{turn1['prompt_tokens']} prompt tokens in turn 1{visual}; {turn2['prompt_tokens']} in turn 2{cached}"


def agreement(texts: list[dict[str, str]], base: list[dict[str, str]]) -> str:
    """How many answers are the base's, by situation: a wrong answer may be quick. Rounding flips near ties."""
    names = [name for name in base[0] if name in texts[0]]
    same = {name: sum(a[name] == b[name] for a, b in zip(texts, base, strict=True)) for name in names}
    return f"answers equal to {BASE}'s: " + ", ".join(f"{name} {same[name]} of {len(base)}" for name in names)


def divided(row: dict, base: dict) -> dict:
    ratios = {key: row[key] / base[key] if row[key] and base[key] else None for key in KEYS[1:]}
    return {"engine": row["engine"], **ratios}


def table(rows: list[dict]) -> str:
    cells = [[row["engine"], *(shown(row[key]) for key in KEYS[1:])] for row in rows]
    return tabulate(cells, KEYS, tablefmt="github", disable_numparse=True)


def shown(value: float | None) -> str:
    """Three digits, of large numbers all before the point."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
