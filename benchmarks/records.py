"""The files in `results/`: what was measured once, and where. Rows of two of them are written by `--record`.

exports.json   {"2b": {"memory_bytes": ..., "minutes": ..., "where": ...}, ...}, by `export`
runs.json      {"2b": {"memory_bytes": ..., "first_token_s": ..., "tokens_s": ..., "where": ...}, ...}, by `speed`

Not here: what the figures are used for (`catalog.measurements`, `benchmarks.report`).
"""

import json
from pathlib import Path

from catalog.measurements import EXPORTS, RESULTS, RUNS
from catalog.presets import MEASURED as PRESETS

__all__ = ["API", "DRAFTS", "EXPORTS", "PRESETS", "RUNS", "SERVING", "SPEED", "SPEED_1280", "read", "record", "write"]

API = RESULTS / "api.json"
DRAFTS = RESULTS / "drafts.json"
SERVING = RESULTS / "serving.json"
SPEED = RESULTS / "speed-2b.json"  # with 384 visual tokens
SPEED_1280 = RESULTS / "speed-2b-1280.json"


def read(file: Path):
    return json.loads(file.read_text(encoding="utf-8"))


def write(file: Path, content) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def record(file: Path, name: str, row: dict) -> None:
    """Puts `row` into `file` under `name`; the file's other rows stay."""
    rows = read(file) if file.exists() else {}
    write(file, rows | {name: row})
