"""`python -m notebook_utils check`: this machine as a table to paste into a bug report, with a verdict for each line.

It names no user, no host and no folder of theirs. Here: what is looked at, and when it is a problem. Not here: which
exports there are and whether they are whole (`catalog.on_disk` says that in lines of its own), which versions will do
(`environment/versions.py`).
"""

import argparse
import getpass
import platform
import re
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from environment.devices import available_devices
from environment.machine import this_machine
from environment.supported_python import is_supported, python_range
from environment.versions import ADVICE, WINDOW, installed, problem_with

CPUINFO = Path("/proc/cpuinfo")
INSTRUCTIONS = {  # as Linux names them; what each is good for is OpenVINO's business
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_bf16": "AMX BF16",
    "amx_int8": "AMX INT8",
}
MIN_MEMORY_BYTES, MIN_DISK_BYTES = 2e9, 1e9  # free, for the practice model; the larger ones have a table of their own
STAND_IN = "…"  # for a name that is left out


@dataclass(frozen=True)
class Line:
    """One thing that was looked at, such as Line("disk", "12.0 GB free")."""

    subject: str
    found: str
    problem: str = ""  # and what to do; empty when all is well


def main(arguments: list[str], models_dir: Path, export_lines: Callable[[], list[Line]]) -> int:
    """Prints the table; returns 1 if a line of it is a problem.

    models_dir: where exports are made. export_lines: what there is to say about those in it.
    """
    parser = argparse.ArgumentParser(prog="python -m notebook_utils", description="What a bug report should say.")
    parser.add_argument("command", choices=["check"])
    parser.parse_args(arguments)
    lines = [
        *python_lines(),
        *package_lines(),
        *processor_lines(),
        *device_lines(),
        *room_lines(models_dir),
        *export_lines(),
    ]
    print(anonymous(table(lines), models_dir.parent))
    return int(any(line.problem for line in lines))


def table(lines: list[Line]) -> str:
    """The lines as a Markdown table."""
    cells = [(line.subject, line.found, f"problem: {line.problem}" if line.problem else "ok") for line in lines]
    rows = [[cell.replace("|", "/") for cell in row] for row in cells]
    return tabulate(rows, ("", "found", "verdict"), tablefmt="github", disable_numparse=True)


def anonymous(text: str, project: Path) -> str:
    """`text` without the project's folder, the reader's home, and the names of the reader and of the machine."""
    for folder, stand_in in ((project, "."), (Path.cwd(), "."), (Path.home(), "~")):
        if folder != folder.parent:  # a home of "/" would take every slash along
            text = text.replace(str(folder), stand_in)
    for name in (socket.gethostname(), user_name()):
        if name:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", STAND_IN, text, flags=re.IGNORECASE)
    return text


def user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in some containers
        return ""


# ---- Python and its packages -----------------------------------------------------------------------------------------


def python_lines() -> list[Line]:
    bits = "64-bit" if sys.maxsize > 2**32 else "32-bit"
    found = f"{platform.python_implementation()} {platform.python_version()}, {bits}"
    problem = "" if is_supported(sys.version_info) else f"the packages need {python_range()}: install one of these"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return [Line("Python", found, problem), Line("system", system)]


def package_lines() -> list[Line]:
    """One for each package that the export depends on, with the window that was tried."""
    lines = []
    for name, (window, why) in WINDOW.items():
        is_outside = problem_with(name, window, why) is not None
        problem = f"tried with {window} ({why}). {ADVICE}" if is_outside else ""
        lines.append(Line(name, installed(name) or "not installed", problem))
    return lines


# ---- what computes ---------------------------------------------------------------------------------------------------


def processor_lines() -> list[Line]:
    """The instructions that speed depends on, where the system lists them (Linux on Intel and AMD)."""
    listed = CPUINFO.read_text(encoding="utf-8") if CPUINFO.exists() else ""
    flags = re.search(r"^flags\s*:(.*)$", listed, re.MULTILINE)
    if flags is None:
        return [Line("CPU instructions", "not listed by this system")]
    found = [name for flag, name in INSTRUCTIONS.items() if flag in flags[1].split()]
    slow = "" if "AVX2" in found else "without AVX2 a large model takes many times longer: use another machine for it"
    return [Line("CPU instructions", ", ".join(found) or "none of AVX2 and its successors", slow)]


def device_lines() -> list[Line]:
    """What OpenVINO runs on here."""
    try:
        devices = available_devices()
    except Exception as error:  # a broken install or driver may raise anything, and that is what is to be told
        return [Line("OpenVINO", "does not start", f"{one_line(error)}. {ADVICE}")]
    if not devices:
        return [Line("OpenVINO", "finds no device", f"not even the CPU. {ADVICE}")]
    return [device_line(name) for name in devices]


def device_line(name: str) -> Line:
    from adapters.openvino_runtime import ov

    core = ov.Core()
    try:
        properties = list(core.get_property(name, "SUPPORTED_PROPERTIES"))
        full_name = core.get_property(name, "FULL_DEVICE_NAME")
        capabilities = ", ".join(sorted(core.get_property(name, "OPTIMIZATION_CAPABILITIES")))
        drivers = [f"driver {core.get_property(name, key)}" for key in properties if key.endswith("DRIVER_VERSION")]
        plugins = [f"plugin {plugin.build_number}" for plugin in core.get_versions(name).values()]
    except Exception as error:  # whatever a driver raises
        return Line(name, "does not answer", f"{one_line(error)}. Update its driver, or choose CPU")
    return Line(name, "; ".join([full_name, capabilities, *drivers, *plugins]))


def one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


# ---- room ------------------------------------------------------------------------------------------------------------


def room_lines(models_dir: Path) -> list[Line]:
    """Memory, disk and cores."""
    here = this_machine(models_dir)
    memory = f"{here.memory_free / 1e9:.1f} GB free of {here.memory_total / 1e9:.1f} GB"
    has_memory, has_disk = here.memory_free >= MIN_MEMORY_BYTES, here.disk_free >= MIN_DISK_BYTES
    return [
        Line("memory", memory, "" if has_memory else "even the practice model may not fit: close programs"),
        Line(
            "disk",
            f"{here.disk_free / 1e9:.1f} GB free where models/ is",
            "" if has_disk else "an export may not fit: delete what you can spare",
        ),
        Line("cores", str(here.cores)),
    ]
