"""What is left of an export that something went wrong with: every fault, many times, as a Markdown table.

    python -m tests.stress.faults                            # the practice model, ten rounds, 40 minutes on one core
    python -m tests.stress.faults --rounds 1 --seed 7

A round kills the exporter at a random moment, then the whole export (parent and exporter) at another while it makes
good the first, then lets a third one end; as many rounds more do so while the model is being written. Linux only; a
full disk needs the right to mount in a namespace (`unshare`).
Not here: faults of the network (the hub), and what the messages say (`tests/test_faults.py`).
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from catalog.choices import PRACTICE_DIR
from tests.stress.breaking import (
    ROOT,
    exporter_of,
    kill_all,
    kill_exporter,
    left_over,
    seconds_until_gone,
    start,
    state,
    wait_for_files,
)

FULL_DISKS_MB = (1, 4, 16)  # the practice model's export takes 4 MB, and more while it is made
HEADING = ("Fault", "Runs", "No model", "Whole", "Half", "Then whole", "Left over", "Orphan, s")
WRITING = 0.15  # of an export's time, at its end, it writes


@dataclass
class Row:
    """What became of one kind of fault: counts of runs, and the seconds that the longest orphan lived."""

    fault: str
    runs: int = 0
    none: int = 0
    whole: int = 0
    half: int = 0
    ended: int = 0  # runs afterwards that nothing disturbed
    healed: int = 0  # of these, with a whole model
    left: int = 0  # of these, with more lying there than the model, its log and its lock
    orphan_s: float = 0.0

    def count(self, output: Path) -> None:
        self.runs += 1
        name = state(output)
        setattr(self, name, getattr(self, name) + 1)

    def count_next(self, output: Path) -> None:
        self.ended += 1
        self.healed += state(output) == "whole"
        self.left += bool(left_over(output))

    def cells(self) -> tuple:
        healed = f"{self.healed} of {self.ended}"
        return (self.fault, self.runs, self.none, self.whole, self.half, healed, self.left, f"{self.orphan_s:.2f}")


def begin(output: Path, screen: Path, amid_writing: bool) -> subprocess.Popen:
    process = start(PRACTICE_DIR, output, screen)
    if amid_writing:
        wait_for_files(process, output)
    return process


def kill_rounds(rounds: int, length_s: float, rng: random.Random, folder: Path, amid_writing: bool) -> list[Row]:
    """`rounds` times: the exporter killed, the whole export killed, an export that ends.

    length_s: of an export. amid_writing: not before the first file of the model is there.
    """
    when = "amid writing" if amid_writing else "at any time"
    exporter = Row(f"SIGKILL of the exporter {when}")
    everything = Row(f"SIGKILL of all {when}, parent first")
    for number in range(rounds):
        output = folder / f"{when} {number}" / "INT4"
        screen = folder / f"{when} {number}.txt"
        kill_exporter(begin(output, screen, amid_writing), rng.uniform(0, length_s))
        exporter.count(output)
        if not output.exists():
            orphan = kill_all(begin(output, screen, amid_writing), rng.uniform(0, length_s))
            last = start(PRACTICE_DIR, output, screen)  # at once, while the orphan may still write
            if orphan:
                everything.orphan_s = max(everything.orphan_s, seconds_until_gone(orphan))
            everything.count(output)
            last.wait()
        for row in (exporter, everything):
            row.count_next(output)
        print(f"round {number}: {exporter.cells()} {everything.cells()}", file=sys.stderr, flush=True)
    return [exporter, everything]


ON_A_DISK = """mount -t tmpfs -o "$2" tmpfs "$1" && mkdir "$1/m" && mount -o "remount,$3" "$1" && cd "$5" && {
"$6" -m tests.stress.faults --once "$1/m/INT4"; mount -o "remount,$4" "$1"
"$6" -m tests.stress.faults --once "$1/m/INT4"; }"""


def on_a_disk(row: Row, folder: Path, made: str, then: str, mended: str) -> None:
    """An export to a file system in a namespace of its own, and another when that is mended: options of mount."""
    arguments = [str(folder), made, then, mended, str(ROOT), sys.executable]
    done = subprocess.run(["unshare", "-rm", "sh", "-c", ON_A_DISK, "sh", *arguments], capture_output=True, text=True)
    print(done.stdout + done.stderr, file=sys.stderr, flush=True)
    told = [line.split() for line in done.stdout.splitlines() if line.startswith("STATE ")]
    if len(told) == 2:  # otherwise there was no right to mount, and the number of runs says so
        (_, then_state, _), (_, mended_state, left) = told
        row.runs += 1
        setattr(row, then_state, getattr(row, then_state) + 1)
        row.ended += 1
        row.healed += mended_state == "whole"
        row.left += left != "0"


def bad_disks(folder: Path) -> list[Row]:
    full = Row(f"full disk, {FULL_DISKS_MB} MB")
    read_only = Row("read-only disk")
    for size in FULL_DISKS_MB:
        on_a_disk(full, folder, f"size={size}m", f"size={size}m", "size=200m")
    on_a_disk(read_only, folder, "size=200m", "ro", "rw")
    return [full, read_only]


def cut_sources(folder: Path, rng: random.Random, count: int) -> Row:
    """Weights that break off at a random byte; then the whole ones."""
    row = Row("weight file cut at a random byte")
    whole = (PRACTICE_DIR / "model.safetensors").read_bytes()
    source = shutil.copytree(PRACTICE_DIR, folder / "source")
    output = folder / "cut" / "INT4"
    for _ in range(count):
        (source / "model.safetensors").write_bytes(whole[: rng.randrange(len(whole))])
        start(source, output, folder / "cut.txt").wait()
        row.count(output)
    (source / "model.safetensors").write_bytes(whole)
    start(source, output, folder / "cut.txt").wait()
    row.count_next(output)
    return row


def once(output: Path) -> None:
    """One export, and what became of it in a line: for a process that sees another disk."""
    with tempfile.TemporaryDirectory() as elsewhere:
        screen = Path(elsewhere, "screen.txt")
        start(PRACTICE_DIR, output, screen).wait()
        print(screen.read_text()[-1500:])
    print("STATE", state(output), len(left_over(output)) if output.parent.exists() else 0)


def two_at_once(folder: Path, kill_first: bool, length_s: float) -> Row:
    """Two exports to one folder; the second waits, and takes what the first made, or makes it where that was killed."""
    row = Row("two at once, the first killed" if kill_first else "two at once")
    output = folder / row.fault / "INT4"
    screen = folder / f"{row.fault}.txt"
    first = start(PRACTICE_DIR, output, screen)
    exporter_of(first)
    second = start(PRACTICE_DIR, output, screen)
    if kill_first:
        time.sleep(length_s / 2)
        first.kill()
    first.wait()
    row.count(output)
    second.wait()
    row.count_next(output)
    return row


def matrix(rounds: int, seed: int, folder: Path) -> list[Row]:
    """Every fault. Exits where even an export that nothing disturbs is not whole."""
    rng = random.Random(seed)
    length_s = undisturbed_s(folder)
    print(f"seed {seed}; an undisturbed export takes {length_s:.1f} s", file=sys.stderr, flush=True)
    (folder / "disk").mkdir()
    at_once = [two_at_once(folder, kill_first, length_s) for kill_first in (False, True)]
    return [
        *kill_rounds(rounds, length_s, rng, folder, amid_writing=False),
        *kill_rounds(rounds, WRITING * length_s, rng, folder, amid_writing=True),
        *bad_disks(folder / "disk"),
        cut_sources(folder, rng, rounds),
        *at_once,
    ]


def undisturbed_s(folder: Path) -> float:
    """How long an export takes."""
    started = time.monotonic()
    output = folder / "undisturbed" / "INT4"
    screen = folder / "undisturbed.txt"
    start(PRACTICE_DIR, output, screen).wait()
    seconds = time.monotonic() - started
    if state(output) != "whole":
        sys.exit(f"Nothing was disturbed, and yet: {screen.read_text()}")
    return seconds


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m tests.stress.faults", description="What is left of an export that something went wrong with."
    )
    parser.add_argument("--rounds", type=int, default=10, help="of killing (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments (default: %(default)s)")
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)  # how it calls itself on another disk
    options = parser.parse_args(argv)
    if options.once:
        once(options.once)
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = matrix(options.rounds, options.seed, Path(folder))
    print(tabulate([row.cells() for row in rows], HEADING, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
