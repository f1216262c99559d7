"""The exporter's command: as a reader would type it, and as it is run.

    arguments = option_arguments({"weight-format": "int4"}, source_is_folder=True)
    export_command("a model", Path("INT4"), arguments)
    # optimum-cli export openvino --model "a model" INT4 --task image-text-to-text --weight-format int4

Not here: running it (`export.run`).
"""

import os
import sys
from pathlib import Path

from adapters.library_telemetry import TELEMETRY_OFF
from export import small_trace

# The exporter asks the hub what a model is for; for a folder it cannot, and this tutorial has one kind of model.
FOLDER_TASK = "image-text-to-text"
EXPORTER = Path(small_trace.__file__)
CHILD_ENVIRONMENT = {
    **TELEMETRY_OFF,
    "PYTHONUTF8": "1",  # the tables are drawn with characters that a Windows code page lacks
    "PYTHONUNBUFFERED": "1",
    "PYTHONSAFEPATH": "1",  # modules of the current folder must not shadow a library's
    # Progress as it happens, through a pipe: two switches of rich, which draws NNCF's bars, and one of huggingface_hub.
    "TTY_COMPATIBLE": "1",
    "TTY_INTERACTIVE": "1",
    "TQDM_POSITION": "-1",
}


def option_arguments(options: dict, source_is_folder: bool) -> list[str]:
    """`options`, such as {"weight-format": "int4", "sym": True}, as arguments: ["--weight-format", "int4", "--sym"].

    None, True and "" stand for an option that takes no value; False leaves it out. For a folder the task is filled in.
    """
    if source_is_folder:
        options = {"task": FOLDER_TASK, **options}
    arguments = []
    for name, value in options.items():
        if value is False:
            continue
        arguments.append(f"--{name}")
        if not (value is None or value is True or value == ""):
            arguments.append(str(value))
    return arguments


def export_command(source: str, output: Path, arguments: list[str]) -> list[str]:
    """The command as it would be typed; `source` is a folder or a name on the hub."""
    return ["optimum-cli", "export", "openvino", "--model", source, str(output), *arguments]


def exporter_argv(command: list[str]) -> list[str]:
    """`command` run by this very Python, wherever its scripts folder is and whatever PATH says."""
    return [sys.executable, str(EXPORTER), *command[1:]]


def child_environment(scratch: Path) -> dict[str, str]:
    """This process's environment for the exporter, which keeps gigabytes in the temporary folder: then in `scratch`,
    which is on the right disk and cleared away.
    """
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch.resolve()))
    return {**os.environ, **CHILD_ENVIRONMENT, **temporary}
