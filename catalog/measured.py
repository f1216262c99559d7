"""What was measured, and where: plain data that `catalog/costs.py` fills its table with. One row per shape and thing.

To put in new numbers, change a row here; every model of that shape then says so, and the others are scaled from it.
A shape without a row has not been measured. RUNS are the rows "session" that benchmarks/speed.py writes: that of 2B
is in benchmarks/results/speed-2b.json, and tests/test_costs.py compares.
"""

from dataclasses import dataclass

EPYC = "two EPYC cores with AVX-512"
EPYC_ONE = "one EPYC core with AVX-512"
PRACTICE = "practice model"  # beside the names in catalog/shapes.py


@dataclass(frozen=True)
class Export:
    """What an INT4 export took, without the download."""
    memory: float  # bytes, at the peak; without the files that it maps, which the system drops when memory is short
    minutes: float
    where: str


@dataclass(frozen=True)
class Run:
    """What a chat on the INT4 export took; a question about a picture of 448 x 672 pixels."""
    memory: float  # bytes, at the peak
    first_answer_s: float  # to the first word
    tokens_s: float  # after it
    where: str


# What an export writes beside its result, for each parameter, and deletes: the model in 16 bits. Watched on the
# practice model: 4.6 million parameters, 4.4 MB in the end, 13.1 MB at the peak.
SCRATCH_BYTES = 2
# By benchmarks/export.py. In control groups of 4 and 8 GiB, page cache included, 2b and 7b were exported too.
EXPORTS = {
    PRACTICE: Export(memory=0.62e9, minutes=0.3, where=EPYC),
    "2b": Export(memory=3.19e9, minutes=109 / 60, where=EPYC),
    "7b": Export(memory=6.00e9, minutes=168 / 60, where=EPYC),
}
RUNS = {
    PRACTICE: Run(memory=1.15e9, first_answer_s=0.127, tokens_s=921, where=EPYC_ONE),
    "2b": Run(memory=3.911e9, first_answer_s=7.79, tokens_s=13.1, where=EPYC),
    "7b": Run(memory=11.37e9, first_answer_s=18.4, tokens_s=3.83, where=EPYC),
}
