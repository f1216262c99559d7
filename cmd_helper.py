"""`optimum_cli`: runs the exporter as a person would in a terminal, live, and leaves a whole model or none.

Here: the command, the child process's environment, the folders. Not here: what the exporter's lines mean
(`export/output.py`), how they reach the reader (`export/progress.py`), anything about models' insides.
"""

import os
import re
import shlex
import shutil
import sys
import time
from pathlib import Path

from catalog.manifest import write_manifest
from catalog.model_folder import broken_graphs, broken_weights
from catalog.on_disk import log_of, size_of
from environment.telemetry import TELEMETRY_OFF
from environment.versions import check_versions
from export import output as exporter_output
from export import small_trace as exporter
from export.process import Child
from export.progress import Screen, make_screen, show_markdown
from export.staging import Workshop, is_empty, sole_writer

# The exporter asks the hub what a model is for; for a folder it cannot, and this tutorial has one kind of model.
LOCAL_TASK = "image-text-to-text"
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
TICK_S = 1.0
EXPORTER = Path(exporter.__file__)  # optimum-cli with less memory
CHILD_ENVIRONMENT = {
    **TELEMETRY_OFF,
    "PYTHONUTF8": "1",  # the tables are drawn with characters that a Windows code page lacks
    "PYTHONUNBUFFERED": "1",
    "PYTHONSAFEPATH": "1",  # modules of the current folder must not shadow a library's
    "TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1", "TQDM_POSITION": "-1",  # progress as it happens, through a pipe
}


class ExportError(RuntimeError):
    """An export that did not end with a model.

    command: the command as the reader would type it, an argv list. returncode: its exit code, None if it never
    started. tail: the last lines of its output that matter.
    """

    def __init__(self, command: list[str], returncode: int | None, tail: str, log: Path | None = None) -> None:
        self.command, self.returncode, self.tail = command, returncode, tail
        outcome = "did not start" if returncode is None else f"ended with exit code {returncode}"
        step = exporter_output.next_step(tail, returncode)
        message = f"The export {outcome}: {shlex.join(command)}\n{tail}"
        super().__init__(message + (f"\nWhat to do: {step}." if step else "") + (f"\nLog: {log}" if log else ""))


def optimum_cli(model_id, output_dir, show_command=True, additional_args=None, debug_logs=False) -> None:
    """Exports a model to OpenVINO with `optimum-cli export openvino`.

    model_id: a name on the Hugging Face hub, or a folder. output_dir: the folder to make; it appears when the model in
    it is complete. Beside it, `<output_dir>.log` has all that the exporter printed, progress bars aside.
    additional_args: options without their dashes, such as {"weight-format": "int4"}; None or True for an option that
    takes no value. debug_logs: show everything the exporter prints, instead of NNCF's tables and the progress.

    Raises ExportError, and VersionError (before anything starts) for packages that cannot export this model.
    """
    check_versions()
    output = Path(output_dir).expanduser()
    source, options = source_and_options(model_id, additional_args or {})
    command = export_command(source, output, options)
    if show_command:
        typed = shlex.join(command)
        show_markdown(f"**Export command:**\n\n`{typed}`", f"Export command:\n{typed}")
    if problem := wrong_folder(source, output):
        raise ExportError(command, None, problem)
    try:
        with sole_writer(output, screen := make_screen()) as workshop:
            if workshop:  # otherwise another process has just made the model
                export(source, options, workshop, output, screen, debug_logs)
    except OSError as error:
        raise ExportError(command, None, f"{type(error).__name__}: {error}") from error


def source_and_options(model_id, additional_args: dict) -> tuple[str, list[str]]:
    """Where the model is, and the options as arguments, with the task filled in for a folder."""
    folder = Path(model_id).expanduser()
    is_folder = folder.is_dir() and str(model_id) != ""  # an empty path would mean the current folder
    task = {"task": LOCAL_TASK} if is_folder else {}
    options = []
    for name, value in {**task, **additional_args}.items():
        options += [f"--{name}"] if value is None or value is True else [f"--{name}", str(value)]
    return str(folder if is_folder else model_id), options


def export_command(source: str, folder: Path, options: list[str]) -> list[str]:
    return ["optimum-cli", "export", "openvino", "--model", source, str(folder), *options]


def wrong_folder(source: str, output: Path) -> str | None:
    """What is wrong with where the export reads from or writes to, as a sentence."""
    if not source or not (Path(source).is_dir() or HUB_ID.fullmatch(source)):
        return f"There is no folder {source!r}, and a model on the hub is named owner/name."
    if output.exists() and not is_empty(output):
        return f"{output} exists already: delete it, or choose another folder for the export."
    broken = filter(None, map(broken_weights, sorted(Path(source).glob("*.safetensors"))))
    if problem := next(broken, None):
        return f"{source} is not a whole model: {problem}. Download or copy it again."
    return None


def export(source: str, options: list[str], workshop: Workshop, output: Path, screen: Screen, debug_logs: bool) -> None:
    """Runs the exporter in the workshop, and moves the finished model to `output`, with its manifest in it."""
    started = time.monotonic()
    command, model, log = export_command(source, output, options), workshop.folder / "model", log_of(output)
    try:
        returncode, lines = run_live(export_command(source, model, options), workshop, log, screen, debug_logs)
        if returncode != 0:
            raise ExportError(command, returncode, exporter_output.relevant_tail(lines), log)
        if problem := broken_graphs(model):  # on a full disk, OpenVINO may write less than it should without a word
            raise ExportError(command, returncode, f"The exporter reported success but wrote {problem}.", log)
        write_manifest(model, source, options)
        shutil.rmtree(workshop.folder / "tmp")  # if we are killed after the next line, nothing large is left
        if output.exists():
            output.rmdir()  # it is empty; only POSIX renames over an empty folder
        model.rename(output)
    except BaseException:  # Ctrl-C, too: the screen must not go on saying that an export is running
        screen.close(f"The export stopped after {minutes(time.monotonic() - started)}")
        raise
    megabytes = size_of(output) / 1e6
    screen.close(f"Exported to {output}: {megabytes:,.0f} MB in {minutes(time.monotonic() - started)}")


def run_live(command: list[str], workshop: Workshop, log: Path, screen: Screen, debug_logs: bool) -> tuple[int, list]:
    """Runs the exporter, showing what matters as it comes and logging all; returns its exit code and its lines.

    The child holds the lock, too: where it outlives us, the next export waits for its end instead of mixing with it.
    """
    scratch = workshop.folder / "tmp"
    scratch.mkdir()
    # The exporter keeps the uncompressed model in the temporary folder: ours is on the right disk, and cleared away.
    env = {**os.environ, **CHILD_ENVIRONMENT, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch.resolve()))}
    started, lines = time.monotonic(), []
    with (log.open("w", encoding="utf-8") as log_file,
          Child(exporter_argv(command), env, holds=[workshop.lock]) as child):
        for piece in child.pieces(TICK_S):
            if piece is None:
                screen.status(f"Exporting, {minutes(time.monotonic() - started)} so far")
            elif exporter_output.is_progress(piece.text):
                screen.progress(piece.text)
            elif piece.whole:
                lines.append(piece.text)
                print(piece.text, file=log_file, flush=True)
                if debug_logs or exporter_output.is_bit_width_line(piece.text):
                    screen.line(piece.text)
        return child.wait(), lines


def exporter_argv(command: list[str]) -> list[str]:
    """`command` run by this very Python, wherever its scripts folder is and whatever PATH says."""
    return [sys.executable, str(EXPORTER), *command[1:]]


def minutes(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
