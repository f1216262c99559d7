"""What exports and answers took, and where: read from `benchmarks/results/`, which the benchmarks write.

    measured_runs()["2b"].tokens_s    # tokens a second, as measured

Every model of a shape that was measured says so in the table of costs, and the others are scaled from these
(`catalog/costs.py`); a shape without an entry has not been measured. Entries are named as in `catalog/shapes.py`, and
"practice model".
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
EXPORTS, RUNS = RESULTS / "exports.json", RESULTS / "runs.json"
PRACTICE = "practice model"


@dataclass(frozen=True)
class ExportMeasurement:
    """What an INT4 export took, without the download; `benchmarks export` writes it.

    memory_bytes: at the peak, without the files that it maps, which the system drops when memory is short.
    """

    memory_bytes: float
    minutes: float
    where: str  # such as "two EPYC cores with AVX-512"


@dataclass(frozen=True)
class RunMeasurement:
    """What a chat on the INT4 export took: a question about a picture of 448 × 672 pixels; `benchmarks speed` writes
    it. memory_bytes: at the peak. tokens_s: after the first token.
    """

    memory_bytes: float
    first_token_s: float
    tokens_s: float
    where: str


@functools.cache
def measured_exports() -> dict[str, ExportMeasurement]:
    return {name: ExportMeasurement(**entry) for name, entry in _read(EXPORTS).items()}


@functools.cache
def measured_runs() -> dict[str, RunMeasurement]:
    return {name: RunMeasurement(**entry) for name, entry in _read(RUNS).items()}


def _read(file: Path) -> dict[str, dict]:
    return json.loads(file.read_text(encoding="utf-8"))
