"""What a model costs, as a table for one machine: download, disk, memory, minutes, the first answer, words a second.

Sizes are computed from a model's config; the rest is measured (`catalog/measured.py`), or scaled from what was
measured, or "not measured". Which models there are to choose from is in `catalog/choices.py`.
"""

from bisect import bisect
from dataclasses import dataclass

from catalog.measured import EXPORTS, RUNS, SCRATCH_BYTES
from catalog.parameters import BYTES, Parameters, export_bytes
from catalog.shapes import SHAPES
from environment.machine import Machine

NOT_MEASURED = "not measured"
NOTHING = "none"
# Of the question that runs were measured with: patches of its picture, and tokens of its prompt.
PATCHES, PROMPT_TOKENS = 1536, 463
COLUMNS = ("Model", "Download", "Disk, INT4", "Memory to convert", "Minutes to convert", "Memory to run",
           "First word, s", "Words a second")


@dataclass(frozen=True)
class Figure:
    value: float
    scaled: bool = False  # True where another shape was measured, not this one


NONE = Figure(0)


@dataclass(frozen=True)
class Costs:
    """None stands for what nobody has measured."""
    download: float  # bytes
    disk: float  # bytes, of the INT4 model
    export_disk: float  # bytes beside it while it is made
    export_memory: Figure | None  # bytes at the peak
    export_minutes: Figure | None
    run_memory: Figure | None  # bytes at the peak
    first_word_s: Figure | None  # of a question about a picture
    words_s: Figure | None  # after the first, counted in tokens


def costs_of(shape: Parameters, download: float, exports: dict, runs: dict) -> Costs:
    """The costs of a model that is still to be exported.

    exports, runs: measurements of `catalog/measured.py`, by the Parameters that they were measured with.
    """
    run = run_costs(shape, runs)
    return Costs(
        download=download, disk=export_bytes(shape), export_disk=shape.total * SCRATCH_BYTES,
        export_memory=estimate(shape, {known: row.memory for known, row in exports.items()}, total),
        export_minutes=estimate(shape, {known: row.minutes for known, row in exports.items()}, total), **run)


def run_costs(shape: Parameters, runs: dict) -> dict[str, Figure | None]:
    """What answering costs, as keywords of Costs."""
    wait = estimate(shape, {known: 1 / row.tokens_s for known, row in runs.items()}, bytes_per_word)
    return {"run_memory": estimate(shape, {known: row.memory for known, row in runs.items()}, export_bytes),
            "first_word_s": estimate(shape, {known: row.first_answer_s for known, row in runs.items()}, arithmetic),
            "words_s": wait and Figure(1 / wait.value, wait.scaled)}


def estimate(shape: Parameters, measured: dict[Parameters, float], size) -> Figure | None:
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
    (left, low), (right, high) = points[above - 1 : above + 1]
    value = low + (size(shape) - left) * (high - low) / (right - left)
    return Figure(max(value, min(measured.values())), scaled=True)


def total(shape: Parameters) -> int:
    return shape.total


def bytes_per_word(shape: Parameters) -> float:
    """What has to be fetched from memory to write one token; that takes longer than calculating with it."""
    return shape.language * BYTES["int4"] + shape.head * BYTES["int8"]


def arithmetic(shape: Parameters) -> float:
    """Multiplications before the first word: every patch passes the vision tower, every token the language model."""
    return shape.vision * PATCHES + shape.language * PROMPT_TOKENS


# ---- the table -------------------------------------------------------------------------------------------------------

def costs_table(choices, machine: Machine | None = None) -> str:
    """The costs as a Markdown table, with what its words mean below.

    machine: for a last column that says what fits there, with the reason and the way out below where it does not.
    """
    header, verdicts = list(COLUMNS), [[] for _ in choices]
    reasons = []
    if machine:
        header.append("Here")
        for choice, verdict in zip(choices, verdicts, strict=True):
            problem = what_does_not_fit(choice, choices, machine)
            reasons += [f"- **{choice.label}** does not fit: {problem}."] if problem else []
            verdict.append("does not fit" if problem else "converted" if choice.is_ready else "fits")
    rows = [[choice.label, *cells(choice.costs), *verdict] for choice, verdict in zip(choices, verdicts, strict=True)]
    table = ["| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows]]
    return "\n\n".join(filter(None, ["\n".join(table), "\n".join(reasons), about(machine)]))


def cells(costs: Costs) -> list[str]:
    return [size_cell(Figure(costs.download)), size_cell(Figure(costs.disk)), size_cell(costs.export_memory),
            cell(costs.export_minutes, number), size_cell(costs.run_memory), cell(costs.first_word_s, number),
            cell(costs.words_s, number)]


def cell(figure: Figure | None, text) -> str:
    """A figure as `text` writes it, with a sign where it is scaled."""
    if figure is None:
        return NOT_MEASURED
    return NOTHING if figure.value == 0 else ("≈ " if figure.scaled else "") + text(figure.value)


def size_cell(figure: Figure | None) -> str:
    return cell(figure, gigabytes)


def number(value: float) -> str:
    return "under 1" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def gigabytes(size: float) -> str:
    """1 800 000 000 -> "1.8 GB"; what is smaller than 0.1 GB in MB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"


def about(machine: Machine | None) -> str:
    """Where the figures come from, and what they are compared with."""
    note = ("Sizes are those of the weights, computed from each model's config; memory is the peak, when converting "
            "without mapped files, which the system drops where memory is short; a word is counted as a token. "
            f"Measured: converting, without the download ({places(EXPORTS)}); answering a question about a picture of "
            f"448 × 672 pixels ({places(RUNS)}). ≈: not measured, but scaled from these.")
    if machine is None:
        return note
    return (f"{note} Free here: {gigabytes(machine.memory_free)} of {gigabytes(machine.memory_total)} of memory, "
            f"{gigabytes(machine.disk_free)} of disk; cores: {machine.cores}.")


def places(measured: dict) -> str:
    by_place = {}
    for name, row in measured.items():
        by_place.setdefault(row.where, []).append(name.upper() if name in SHAPES else name)
    return "; ".join(f"{', '.join(names)} on {where}" for where, names in by_place.items())


# ---- what fits -------------------------------------------------------------------------------------------------------

def what_does_not_fit(choice, choices, machine: Machine) -> str | None:
    """Why a model cannot be had on `machine` now and what to do instead, or None. Unmeasured memory counts as none."""
    convert = NONE if choice.is_ready else choice.costs.export_memory or NONE
    run = choice.costs.run_memory or NONE
    problems = []
    if convert.value > machine.memory_free:
        larger = close_programs(convert, machine) or "convert it on a larger machine and copy the folder"
        problems += [too_little("converting", convert, machine, [*ready_made(choice, choices, machine), larger])]
    if run.value > machine.memory_free:
        problems += [too_little("answering", run, machine, [close_programs(run, machine) or "choose a smaller model"])]
    if (disk := disk_needed(choice)) > machine.disk_free:
        problems += [f"until it is ready, {gigabytes(disk)} of disk are needed, {gigabytes(machine.disk_free)} free; "
                     f"{', or '.join([*ready_made(choice, choices, machine), 'delete what you can spare'])}"]
    return ". Also, ".join(problems) or None


def too_little(doing: str, need: Figure, machine: Machine, ways_out: list[str]) -> str:
    return (f"{doing} needs {size_cell(need)} of memory, {gigabytes(machine.memory_free)} free; "
            f"{', or '.join(ways_out)}")


def close_programs(need: Figure, machine: Machine) -> str | None:
    """The way out where the memory is there, but in use."""
    return "close other programs" if need.value < machine.memory_total else None


def ready_made(choice, choices, machine: Machine) -> list[str]:
    """The way out where somebody else has converted the same model, and this machine is large enough for that one."""
    return [f"take {other.label}" for other in choices if other.source == choice.ready_made
            and other.costs.run_memory and other.costs.run_memory.value < machine.memory_total
            and disk_needed(other) <= machine.disk_free]


def disk_needed(choice) -> float:
    """The most bytes on the disk at once until the model can be loaded."""
    costs = choice.costs
    converting = costs.disk + costs.export_disk if choice.needs_export else 0
    return 0 if choice.is_ready else costs.download + converting
