"""The files in `results/`: what was measured once, and where. Rows of two of them are written by `--record`.

exports.json   {"2b": {"memory_bytes": ..., "minutes": ..., "where": ...}, ...}, by `export`
speed-*.json, growth-2b.json, settings.json   {"processor": ..., "rows": [...]}, by the commands' --json
runs.json      {"2b": {"memory_bytes": ..., "first_token_s": ..., "tokens_s": ..., "where": ...}, ...}, by `speed`

Not here: what the figures are used for (`catalog.measurements`, `benchmarks.report`).
"""

import json
import os
import platform
import re
from pathlib import Path

from catalog.measurements import EXPORTS, RESULTS, RUNS
from catalog.presets import MEASURED as PRESETS

__all__ = ["API", "DRAFTS", "EXPORTS", "GROWTH", "PRESETS", "RUNS", "SERVING", "SETTINGS", "SPEED", "SPEED_3",
           "SPEED_1280", "SPEED_AMX", "SPEED_SMALLEST", "processor", "read", "record", "write",
           "write_rows"]  # fmt: skip

CPUINFO = Path("/proc/cpuinfo")
INSTRUCTIONS = {"avx512_vnni": "AVX-512 VNNI", "avx512_bf16": "BF16", "amx_int8": "AMX"}  # that the figures depend on
API = RESULTS / "api.json"
DRAFTS = RESULTS / "drafts.json"
GROWTH = RESULTS / "growth-2b.json"
SETTINGS = RESULTS / "settings.json"
SERVING = RESULTS / "serving.json"
SPEED = RESULTS / "speed-2b.json"  # with 384 visual tokens
SPEED_AMX = RESULTS / "speed-2b-amx.json"  # the same on a processor with AMX, with llama.cpp
SPEED_1280 = RESULTS / "speed-2b-1280.json"
SPEED_3 = RESULTS / "speed-3-2b.json"  # of Qwen3-VL's 2B shape
SPEED_SMALLEST = RESULTS / "speed-2b-smallest.json"  # of the preset "smallest"


def read(file: Path):
    return json.loads(file.read_text(encoding="utf-8"))


def write(file: Path, content) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def write_rows(file: Path, rows: list[dict]) -> None:
    """With the processor that they were measured on."""
    write(file, {"processor": processor(), "rows": rows})


def processor() -> str:
    """Its name and what tells generations apart, as Linux lists them: "2 cores of Intel(R) Xeon(R) Processor
    (family 6, model 143; AVX-512 VNNI, AMX)".
    """
    listed = CPUINFO.read_text(encoding="utf-8") if CPUINFO.exists() else ""
    entry = dict(re.findall(r"^([\w ]+?)\s*:\s*(.*)$", listed, re.MULTILINE))
    if "model name" not in entry:
        return f"{os.cpu_count()} cores of {platform.processor() or platform.machine()}"
    found = [name for flag, name in INSTRUCTIONS.items() if flag in entry["flags"].split()]
    numbers = f"family {entry['cpu family']}, model {entry['model']}"
    return f"{os.cpu_count()} cores of {entry['model name']} ({'; '.join([numbers, ', '.join(found)])})"


def record(file: Path, name: str, row: dict) -> None:
    """Puts `row` into `file` under `name`; the file's other rows stay."""
    rows = read(file) if file.exists() else {}
    write(file, rows | {name: row})
