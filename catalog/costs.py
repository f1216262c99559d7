"""What a model costs, as a table for one machine: download, disk, memory, minutes, the first word, tokens a second.

    print(costs_table(model_choices(), this_machine()))

Sizes are computed from a model's config; the rest is measured (`catalog/measurements.py`), or scaled from what was
measured, or "not measured". Which models there are to choose from is in `catalog/choices.py`.
"""

from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass

from tabulate import tabulate

from catalog.measurements import measured_exports, measured_runs
from catalog.parameters import BYTES, Parameters, export_bytes
from catalog.shapes import SHAPES
from environment.machine import Machine

NOT_MEASURED = "not measured"
NOTHING = "none"
# What an export writes beside its result, for each parameter, and deletes: the model in 16 bits. Watched on the
# practice model: 4.6 million parameters, 4.4 MB in the end, 13.1 MB at the peak.
SCRATCH_BYTES = 2
# Of the question that runs were measured with: patches of its picture, and tokens of its prompt.
PATCHES, PROMPT_TOKENS = 1536, 463
COLUMNS = (
    "Model",
    "Download",
    "Disk, INT4",
    "Memory to convert",
    "Minutes to convert",
    "Memory to run",
    "First word, s",
    "Tokens/s",
)
FITS_COLUMN = "Here"


@dataclass(frozen=True)
class Figure:
    """A number of the table."""

    value: float
    scaled: bool = False  # True where another shape was measured, not this one


NONE = Figure(0)


@dataclass(frozen=True)
class Costs:
    """None stands for what nobody has measured."""

    download_bytes: float
    disk_bytes: float  # of the INT4 model
    export_disk_bytes: float  # beside it while it is made
    export_memory_bytes: Figure | None  # at the peak
    export_minutes: Figure | None
    run_memory_bytes: Figure | None  # at the peak
    first_token_s: Figure | None  # of a question about a picture
    tokens_s: Figure | None  # after the first


def costs_of(shape: Parameters, download_bytes: float, exports: dict, runs: dict) -> Costs:
    """The costs of a model that is still to be exported.

    exports, runs: measurements of `catalog/measurements.py`, by the Parameters that they were measured with.
    """

    def scaled_from(measured: dict, value: Callable, size: Callable) -> Figure | None:
        return estimate(shape, {known: value(measurement) for known, measurement in measured.items()}, size)

    seconds_per_token = scaled_from(runs, lambda run: 1 / run.tokens_s, bytes_per_token)
    tokens_s = seconds_per_token and Figure(1 / seconds_per_token.value, seconds_per_token.scaled)
    return Costs(
        download_bytes=download_bytes,
        disk_bytes=export_bytes(shape),
        export_disk_bytes=shape.total * SCRATCH_BYTES,
        export_memory_bytes=scaled_from(exports, lambda export: export.memory_bytes, total),
        export_minutes=scaled_from(exports, lambda export: export.minutes, total),
        run_memory_bytes=scaled_from(runs, lambda run: run.memory_bytes, export_bytes),
        first_token_s=scaled_from(runs, lambda run: run.first_token_s, multiplications),
        tokens_s=tokens_s,
    )


def estimate(shape: Parameters, measured: dict[Parameters, float], size: Callable) -> Figure | None:
    """What was measured for `shape`, or what lies on the straight line through its two neighbours that were; None where
    fewer than two were.

    size: what the figure grows with, a function of Parameters.
    """
    if shape in measured:
        return Figure(measured[shape])
    if len(measured) < 2:
        return None
    points = sorted((size(known), value) for known, value in measured.items())
    above = min(max(bisect(points, (size(shape), 0)), 1), len(points) - 1)
    (left, low), (right, high) = points[above - 1], points[above]
    value = low + (size(shape) - left) * (high - low) / (right - left)
    return Figure(max(value, min(measured.values())), scaled=True)


def total(shape: Parameters) -> int:
    """What the memory and the time of converting grow with: every parameter is converted."""
    return shape.total


def bytes_per_token(shape: Parameters) -> float:
    """What has to be fetched from memory to decode one token; that takes longer than calculating with it."""
    return shape.language * BYTES["int4"] + shape.head * BYTES["int8"]


def multiplications(shape: Parameters) -> float:
    """Before the first token: every patch passes the vision encoder, every token of the prompt the language model."""
    return shape.vision * PATCHES + shape.language * PROMPT_TOKENS


# ---- the table -------------------------------------------------------------------------------------------------------


def costs_table(choices, machine: Machine | None = None) -> str:
    """The costs as a Markdown table, with what its words mean below.

    machine: for a last column that says what fits there, with the reason and the way out below where it does not.
    """
    headers = list(COLUMNS)
    rows = [[choice.label, *cells(choice.costs)] for choice in choices]
    reasons = []
    if machine:
        headers.append(FITS_COLUMN)
        for choice, row in zip(choices, rows, strict=True):
            problem = what_does_not_fit(choice, choices, machine)
            row.append(verdict(choice, problem))
            if problem:
                reasons.append(f"- **{choice.label}** does not fit: {problem}.")
    table = tabulate(rows, headers, tablefmt="github", disable_numparse=True)
    return "\n\n".join(filter(None, [table, "\n".join(reasons), explanation(machine)]))


def verdict(choice, problem: str | None) -> str:
    """What the last column says of a model."""
    if problem:
        return "does not fit"
    return "converted" if choice.is_ready else "fits"


def cells(costs: Costs) -> list[str]:
    """A row of the table, without the model's name."""
    return [
        size_cell(Figure(costs.download_bytes)),
        size_cell(Figure(costs.disk_bytes)),
        size_cell(costs.export_memory_bytes),
        cell(costs.export_minutes, number),
        size_cell(costs.run_memory_bytes),
        cell(costs.first_token_s, number),
        cell(costs.tokens_s, number),
    ]


def cell(figure: Figure | None, as_text: Callable[[float], str]) -> str:
    """A figure as `as_text` writes it, with a sign where it is scaled."""
    if figure is None:
        return NOT_MEASURED
    if figure.value == 0:
        return NOTHING
    return f"{'≈ ' if figure.scaled else ''}{as_text(figure.value)}"


def size_cell(figure: Figure | None) -> str:
    return cell(figure, gigabytes)


def number(value: float) -> str:
    """0.4 -> "under 1"; 1.82 -> "1.8"; 921.3 -> "921"."""
    if value < 1:
        return "under 1"
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def gigabytes(size: float) -> str:
    """1 800 000 000 -> "1.8 GB"; what is smaller than 0.1 GB in MB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"


def explanation(machine: Machine | None) -> str:
    """Where the figures come from, and what they are compared with."""
    note = (
        "Sizes are computed from each model's config. Memory is the peak; for conversion, memory-mapped files are not "
        "counted. "
        f"Measured: converting, without the download ({places(measured_exports())}); answering a question about a "
        f"picture of 448 × 672 pixels ({places(measured_runs())}). ≈: not measured, but scaled from these."
    )
    if machine is None:
        return note
    return (
        f"{note} Free here: {gigabytes(machine.memory_free)} of {gigabytes(machine.memory_total)} of memory, "
        f"{gigabytes(machine.disk_free)} of disk; cores: {machine.cores}."
    )


def places(measured: dict) -> str:
    """What was measured on which machine: "practice model, 2B on two EPYC cores"."""
    by_place: dict[str, list[str]] = {}
    for name, measurement in measured.items():
        by_place.setdefault(measurement.where, []).append(_for_people(name))
    return "; ".join(f"{', '.join(names)} on {where}" for where, names in by_place.items())


def _for_people(name: str) -> str:
    """What people call a shape: "2b" is "2B", "3-2b" is "Qwen3-VL 2B"; another name stays."""
    generation, dash, size = name.rpartition("-")
    if name not in SHAPES:
        return name
    return f"Qwen{generation}-VL {size.upper()}" if dash else name.upper()


# ---- what fits -------------------------------------------------------------------------------------------------------


def what_does_not_fit(choice, choices, machine: Machine) -> str | None:
    """Why a model cannot be had on `machine` now and what to do instead, or None. Unmeasured memory counts as none."""
    convert = NONE if choice.is_ready else choice.costs.export_memory_bytes or NONE
    run = choice.costs.run_memory_bytes or NONE
    alternatives = ready_made(choice, choices, machine)
    problems = []
    if convert.value > machine.memory_free:
        larger = close_programs(convert, machine) or "convert it on a larger machine and copy the folder"
        problems.append(too_little_memory("converting", convert, machine, [*alternatives, larger]))
    if run.value > machine.memory_free:
        smaller = close_programs(run, machine) or "choose a smaller model"
        problems.append(too_little_memory("answering", run, machine, [smaller]))
    disk_bytes = disk_needed(choice)
    if disk_bytes > machine.disk_free:
        ways_out = ", or ".join([*alternatives, "delete what you can spare"])
        problems.append(
            f"until it is ready, {gigabytes(disk_bytes)} of disk are needed, {gigabytes(machine.disk_free)} free; "
            f"{ways_out}"
        )
    return ". Also, ".join(problems) or None


def too_little_memory(doing: str, need: Figure, machine: Machine, ways_out: list[str]) -> str:
    return (
        f"{doing} needs {size_cell(need)} of memory, {gigabytes(machine.memory_free)} free; {', or '.join(ways_out)}"
    )


def close_programs(need: Figure, machine: Machine) -> str | None:
    """The way out where the memory is there, but in use."""
    return "close other programs" if need.value < machine.memory_total else None


def ready_made(choice, choices, machine: Machine) -> list[str]:
    """The way out where somebody else has converted the same model, and this machine is large enough for that one."""

    def would_fit(other) -> bool:
        memory = other.costs.run_memory_bytes
        return bool(memory) and memory.value < machine.memory_total and disk_needed(other) <= machine.disk_free

    return [f"take {other.label}" for other in choices if other.source == choice.ready_made and would_fit(other)]


def disk_needed(choice) -> float:
    """The most bytes on the disk at once until the model can be loaded."""
    if choice.is_ready:
        return 0
    costs = choice.costs
    converting = costs.disk_bytes + costs.export_disk_bytes if choice.needs_export else 0
    return costs.download_bytes + converting
