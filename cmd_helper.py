"""`optimum_cli`: runs the exporter as a person would in a terminal, live, and leaves a whole model or none.

    optimum_cli(fetch_model("Qwen/Qwen2-VL-2B-Instruct"), "models/INT4", additional_args={"weight-format": "int4"})

The path of an export, and the files behind each step:

    what to export, under which name    catalog/source       a folder, one in the hub's cache, a name on the hub
    the command                         export/command       as it is shown, and as it is run
    one process at a time               export/staging       in a folder beside the one that is to appear
    the exporter runs                   export/run           its lines logged, what matters shown (export/progress)
      ... as a child process            export/process       which Ctrl-C ends, and the end of this process, too
    what went wrong                     export/output        the lines that matter, and what to do
    is it whole?                        catalog/model_folder
    how it was made                     catalog/manifest     written into the folder before it gets its name

Not here: anything about models' insides, and loading them (`catalog/open.py`).
"""

import shlex
import shutil
import time
from pathlib import Path

from catalog.choices import source_and_export
from catalog.hub import fetch_model
from catalog.manifest import write_manifest
from catalog.model_folder import broken_graphs, is_exported, require_model_dir
from catalog.on_disk import size_of
from catalog.presets import PRESETS
from catalog.source import ModelSource, downloaded_revision, find_source
from environment.versions import check_versions
from export.command import export_command, option_arguments
from export.output import next_step, relevant_tail
from export.progress import ProgressDisplay, make_display, show_markdown
from export.run import minutes, run_exporter
from export.staging import StagingFolder, exclusive_staging, flush, is_empty, log_of


class ExportError(RuntimeError):
    """An export that did not end with a model.

    command: the command as the reader would type it, an argv list. returncode: its exit code, None if it never
    started. tail: the last lines of its output that matter.
    """

    def __init__(self, command: list[str], returncode: int | None, tail: str, log: Path | None = None) -> None:
        self.command, self.returncode, self.tail = command, returncode, tail
        outcome = "did not start" if returncode is None else f"ended with exit code {returncode}"
        step = next_step(tail, returncode)
        message = f"The export {outcome}: {shlex.join(command)}\n{tail}"
        super().__init__(message + (f"\nWhat to do: {step}." if step else "") + (f"\nLog: {log}" if log else ""))


def optimum_cli(model_id, output_dir, show_command=True, additional_args=None, debug_logs=False) -> None:
    """Exports a model to OpenVINO with `optimum-cli export openvino`.

    model_id: a name on the Hugging Face hub, or a folder; of a folder in the hub's cache, which `fetch_model` returns,
    the name is shown and recorded. output_dir: the folder to make; it appears when the model in it is complete. Beside
    it, `<output_dir>.log` has all that the exporter printed, progress bars aside. additional_args: options without
    their dashes, such as {"weight-format": "int4"}; None, True or "" for an option that takes no value, False for one
    that is left out. debug_logs: show everything the exporter prints, instead of NNCF's tables and the progress.

    Raises ExportError, and VersionError (before anything starts) for packages that cannot export this model.
    """
    check_versions()
    source, output = find_source(model_id), Path(output_dir).expanduser()
    options = additional_args or {}
    arguments = option_arguments(options, source.is_folder)
    command = export_command(source.name, output, arguments)
    if show_command:
        typed = shlex.join(command)
        show_markdown(f"**Export command:**\n\n`{typed}`", f"Export command:\n{typed}")
    problem = source.problem()
    if output.exists() and not is_empty(output):
        problem = problem or f"{output} exists already: delete it, or choose another folder for the export."
    if problem:
        raise ExportError(command, None, problem)
    display = make_display()
    try:
        with exclusive_staging(output, display) as staging:
            if staging:  # otherwise another process has just made the model
                _export(source, arguments, options.get("cache_dir"), staging, output, display, debug_logs)
    except OSError as error:
        raise ExportError(command, None, f"{type(error).__name__}: {error}") from error


def export_if_needed(source: str | None = None) -> Path:
    """The folder of the OpenVINO model for what a person typed, exported with the balanced preset if it is not there.

    source: None for the practice model, a folder with a model, exported or not, or a name on the hub; that is
    downloaded first, and taken as it is if it is OpenVINO's already. Raises ModelFolderError, HubError, ExportError.
    """
    original, exported = source_and_export(source)
    if Path(exported).is_dir():
        return require_model_dir(exported)
    folder = fetch_model(original)
    if is_exported(folder):
        return folder
    optimum_cli(folder, exported, additional_args=PRESETS["balanced"].options)
    return require_model_dir(exported)


def _export(
    source: ModelSource,
    arguments: list[str],
    cache_dir: str | None,
    staging: StagingFolder,
    output: Path,
    display: ProgressDisplay,
    debug_logs: bool,
) -> None:
    """Runs the exporter in the staging folder, and moves the finished model to `output`, with its manifest in it."""
    started = time.monotonic()
    command, model, log = export_command(source.name, output, arguments), staging.folder / "model", log_of(output)
    try:
        run = export_command(source.location, model, arguments)
        returncode, lines = run_exporter(run, staging, log, display, debug_logs)
        if returncode != 0:
            raise ExportError(command, returncode, relevant_tail(lines), log)
        if problem := broken_graphs(model):  # on a full disk, OpenVINO may write less than it should without a word
            raise ExportError(command, returncode, f"The exporter reported success but wrote {problem}.", log)
        revision = source.revision if source.is_folder else downloaded_revision(source.name, cache_dir)
        write_manifest(model, source.name, arguments, revision)
        shutil.rmtree(staging.folder / "tmp")  # if we are killed after the next line, nothing large is left
        if output.exists():
            output.rmdir()  # it is empty; only POSIX renames over an empty folder
        flush(model)
        model.rename(output)
    except BaseException:  # Ctrl-C, too: the display must not go on saying that an export is running
        display.close(f"The export stopped after {minutes(time.monotonic() - started)}")
        raise
    display.close(f"Exported to {output}: {size_of(output) / 1e6:,.0f} MB in {minutes(time.monotonic() - started)}")
