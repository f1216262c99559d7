"""Runs the exporter: all that it prints goes to the log, and what matters to the reader is shown as it comes.

Not here: where it writes (`export.staging`), what its lines mean (`export.output`), what is made of its exit code
(`cmd_helper`).
"""

import time
from pathlib import Path

from export import output
from export.command import child_environment, exporter_argv
from export.process import Child
from export.progress import ProgressDisplay
from export.staging import StagingFolder

TICK_S = 1.0  # how often the display says for how long a silent exporter has been running


def run_exporter(
    command: list[str], staging: StagingFolder, log: Path, display: ProgressDisplay, debug_logs: bool
) -> tuple[int, list[str]]:
    """Runs `command` until it ends; returns its exit code and the lines that it printed.

    The child holds the lock of the staging folder, too: where it outlives us, the next export waits for its end instead
    of mixing with it. Of NNCF's tables the first, the language model's, is shown, the others folded away. debug_logs:
    show every line.
    """
    scratch = staging.folder / "tmp"
    scratch.mkdir()
    started, lines, tables = time.monotonic(), [], 0
    child = Child(exporter_argv(command), child_environment(scratch), holds=[staging.lock])
    with log.open("w", encoding="utf-8") as log_file, child:
        for piece in child.pieces(TICK_S):
            if piece is None:
                display.status(f"Exporting, {minutes(time.monotonic() - started)} so far")
            elif output.is_progress(piece.text):
                display.progress(piece.text)
            elif piece.whole:
                lines.append(piece.text)
                print(piece.text, file=log_file, flush=True)
                tables += output.is_table_title(piece.text)
                if output.is_bit_width_line(piece.text) and tables > 1:
                    display.folded(piece.text)
                elif debug_logs or output.is_bit_width_line(piece.text):
                    display.line(piece.text)
        return child.wait(), lines


def minutes(seconds: float) -> str:
    """Seconds as people say them: 109.4 -> "1 min 49 s"."""
    whole_minutes, rest = divmod(int(seconds), 60)
    return f"{whole_minutes} min {rest:02d} s"
