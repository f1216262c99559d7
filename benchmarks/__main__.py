"""`python -m benchmarks COMMAND ...`: one command line for all measurements.

A command is a module of this folder: `add_arguments(parser)`, `run(options)`, which returns the exit status, and a
docstring whose first line says what is measured. It imports no large package when it is imported: Linux counts what
the parent holds into the peak of a child that it starts.
"""

import argparse
import importlib
import sys

from adapters.library_telemetry import turn_off_library_telemetry
from benchmarks.options import UsageError
from benchmarks.processes import MeasurementError

COMMANDS = (
    "random-model", "gguf-model", "export", "speed", "growth", "settings", "drafts", "presets", "video", "long-video",
    "serving", "api-overhead", "everything", "report",
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    turn_off_library_telemetry()
    options = make_parser().parse_args(argv)
    try:
        return options.run(options)
    except UsageError as error:
        options.parser.error(str(error))
    except MeasurementError as error:
        print(f"{options.parser.prog}: {error}", file=sys.stderr)
        return 1


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description="Measure time and memory.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"benchmarks.{name.replace('-', '_')}")
        command = commands.add_parser(
            name, help=module.__doc__.splitlines()[0].partition(": `")[0], description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        module.add_arguments(command)
        command.set_defaults(run=module.run, parser=command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
