"""What several commands ask for on the command line, and how they say what is wrong with it."""

import argparse
import importlib.util
from pathlib import Path

MODEL_FILE = "openvino_language_model.xml"


class UsageError(ValueError):
    """Options that do not go together, as a sentence. Raised before the first measurement, not after the last."""


def exported_model(text: str) -> Path:
    """The type of an option that names a folder with an exported model."""
    if not (Path(text) / MODEL_FILE).exists():
        raise argparse.ArgumentTypeError(
            f"{text} holds no exported model; export one as the notebook does, or name its folder."
        )
    return Path(text)


def add_model_dir(parser: argparse.ArgumentParser, **options) -> None:
    known = {"metavar": "MODEL_DIR", "type": exported_model, "help": "folder with an exported Qwen-VL model"}
    parser.add_argument("model_dir", **(known | options))


def add_child(parser: argparse.ArgumentParser) -> None:
    """How a command calls itself in a child process (see `benchmarks.processes`), naming the part that it wants."""
    parser.add_argument("--child", help=argparse.SUPPRESS)


def add_record(parser: argparse.ArgumentParser, file: Path) -> None:
    """For `benchmarks.records.record`; `check_record` looks at what was typed."""
    parser.add_argument("--record", metavar="NAME", help=f"write the row NAME, such as 2b, of results/{file.name}")
    parser.add_argument("--where", metavar="TEXT", help="for --record: on which machine, such as 'two EPYC cores'")


def check_plot(options: argparse.Namespace) -> None:
    """Of --json and --plot, each the Path of a file or None. Raises UsageError."""
    for path in filter(None, (options.json, options.plot)):
        if not path.resolve().parent.is_dir():
            raise UsageError(f"{path} cannot be written, because there is no folder {path.resolve().parent}.")
    if options.plot and not importlib.util.find_spec("matplotlib"):
        raise UsageError("--plot needs matplotlib: pip install -r requirements-bench.txt")


def check_record(options: argparse.Namespace) -> None:
    """Raises UsageError."""
    if bool(options.record) != bool(options.where):
        raise UsageError("--record NAME and --where TEXT go together: a figure says on which machine it was measured.")
