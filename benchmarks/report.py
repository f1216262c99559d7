"""The measured figures in README.md and the pages of docs/: `python -m benchmarks report`, after speed
--json, drafts and serving.

Reads what is in benchmarks/results/, and replaces the text of these pages between their marks. Types no number by hand,
measures nothing.
"""

import argparse
from pathlib import Path

from tabulate import tabulate

from benchmarks import records
from benchmarks.growth import table as growth_table
from benchmarks.processes import ROOT
from benchmarks.serving import capacity, table
from benchmarks.tables import BASE, shown

README, DOCS = ROOT / "README.md", ROOT / "docs"
SPEED_PAGE, SERVING_PAGE, API_PAGE = DOCS / "speed.md", DOCS / "serving.md", DOCS / "api.md"
SPEED_MARKS = ("<!-- speed -->", "<!-- end of speed -->")
SPEED_AMX_MARKS = ("<!-- speed, AMX -->", "<!-- end of speed, AMX -->")
SPEED_1280_MARKS = ("<!-- speed, 1280 -->", "<!-- end of speed, 1280 -->")
SPEED_3_MARKS = ("<!-- speed, Qwen3-VL -->", "<!-- end of speed, Qwen3-VL -->")
GROWTH_MARKS = ("<!-- growth -->", "<!-- end of growth -->")
DRAFTS_MARKS = ("<!-- drafts -->", "<!-- end of drafts -->")
SERVING_MARKS = ("<!-- serving -->", "<!-- end of serving -->")
API_MARKS = ("<!-- overhead -->", "<!-- end of overhead -->")
SPEED_COLUMNS = {
    "load_s": "load, s", "ttft_turn1_s": "first turn, s", "ttft_turn2_s": "second turn, s", "ttft_retry_s": "retry, s",
    "ttft_same_image_s": "same picture, new chat, s", "ttft_prepared_s": "prefetched picture, s",
    "decode_tok_s": "tokens/s", "peak_rss_mb": "peak memory, MB",
}  # fmt: skip
ENGINE_NAMES = {
    "generate": "`model.generate`", "session": "`ChatSession`", "genai-pa": "OpenVINO GenAI, paged attention",
    "genai-sdpa": "OpenVINO GenAI, SDPA", "llama-cpp": "llama.cpp, Q4_0",
    "session-smallest": "`ChatSession`, smallest preset",
}  # fmt: skip
DRAFTS_ROWS = {
    "tokens_per_step": "tokens a step, with accepted draft tokens",
    "speedup": "tokens/s of the 2B shape at this acceptance, ×",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has no options."""


def run(options: argparse.Namespace) -> int:
    from tiny_model.training.report import put_between

    put_between(SPEED_MARKS, speed(records.SPEED), README)
    put_between(SPEED_AMX_MARKS, speed(records.SPEED_AMX, records.SPEED_SMALLEST), SPEED_PAGE)
    put_between(SPEED_1280_MARKS, speed(records.SPEED_1280), SPEED_PAGE)
    put_between(SPEED_3_MARKS, speed(records.SPEED_3), SPEED_PAGE)
    put_between(GROWTH_MARKS, growth(), SPEED_PAGE)
    put_between(DRAFTS_MARKS, drafts(), SPEED_PAGE)
    put_between(SERVING_MARKS, serving(), SERVING_PAGE)
    put_between(API_MARKS, api_overhead(), API_PAGE)
    return 0


def speed(file: Path, smallest: Path | None = None) -> str:
    """One row per engine; behind each figure of ours, in brackets, its ratio to generate's. smallest: rows of a session
    on the smallest preset.
    """
    rows = records.read(file)["rows"]
    rows += [{**row, "engine": "session-smallest"} for row in records.read(smallest)["rows"]] if smallest else []
    base = next(row for row in rows if row["engine"] == BASE)
    cells = [
        [ENGINE_NAMES.get(row["engine"], row["engine"])]
        + [shown(row[key]) + _ratio(row, base, key) for key in SPEED_COLUMNS]
        for row in rows
    ]
    return tabulate(cells, ["", *SPEED_COLUMNS.values()], tablefmt="github", disable_numparse=True)


def _ratio(row: dict, base: dict, key: str) -> str:
    is_known = row["engine"] == "session" and row[key] and base[key]
    return f" ({row[key] / base[key]:.2g} ×)" if is_known else ""


def growth() -> str:
    """Seconds to the first token by picture and video, and on which machine."""
    found = records.read(records.GROWTH)
    return f"{growth_table(found['rows'], ENGINE_NAMES)}\n\nMeasured on {found['processor']}."


def drafts() -> str:
    """How many draft tokens were accepted, by what was asked, and what a forward pass of several tokens costs."""
    found = records.read(records.DRAFTS)
    questions = found["questions"]
    cells = [[name, *(f"{row[key]:.2f}" for row in questions)] for key, name in DRAFTS_ROWS.items()]
    headers = ["", *(row["question"] for row in questions)]
    one_ms, *more_ms = found["step_ms"].values()
    costs = ", ".join(f"{tokens} tokens {ms / one_ms:.2f}" for tokens, ms in enumerate(more_ms, start=2))
    lines = [
        tabulate(cells, headers, tablefmt="github", disable_numparse=True),
        "",
        f"Cost of a forward pass of the 2B shape, relative to one token: {costs}.",
    ]
    return "\n".join(lines)


def serving() -> str:
    """Visitors over replicas; what the way to a replica costs; how many visitors machines carry."""
    found = records.read(records.SERVING)
    direct, remote = found["overhead"]["direct"], found["overhead"]["remote"]
    first = f"{remote['first_token_ms'] - direct['first_token_ms']:.1f} ms"
    further = f"{remote['next_token_ms'] - direct['next_token_ms']:.1f} ms"
    pauses = ", ".join(f"{seconds:g} s" for seconds in found["failover_s"] if seconds)
    way = f"For one visitor, the way to a replica adds {first} to the first token and {further} to each further one."
    lost = f"An answer whose replica is killed pauses for {pauses}."
    formula, assumed, *machines = capacity()
    carried = f"*{formula}*. {assumed}: {', '.join(machines)}."
    return "\n".join([table(found["crowd"]), "", f"{way} {lost}", "", carried])


def api_overhead() -> str:
    """What HTTP adds for one visitor."""
    found = records.read(records.API)
    first, further = (found["api"][key] - found["direct"][key] for key in ("first_token_ms", "next_token_ms"))
    return f"HTTP adds {first:.1f} ms to the first token and {further:.2f} ms to each further one."
