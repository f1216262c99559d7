"""`python -m notebook_utils check`: this machine as a table to paste into a bug report, with a verdict for each line.

It names no user, no host and no folder of theirs. Here: what is looked at, and when it is a problem. Not here: what a
whole export is (`catalog/manifest.py`), which versions will do (`environment/versions.py`).
"""

import argparse
import getpass
import platform
import re
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from catalog.manifest import installed, verify_hashes
from catalog.on_disk import MODELS_DIR, ModelOnDisk, list_models_on_disk
from environment.devices import available_devices
from environment.machine import this_machine
from environment.versions import ADVICE, WINDOW, problem_with
from tasks.bootstrap import PYTHON_MAX, PYTHON_MIN, python_range

CPUINFO = Path("/proc/cpuinfo")
# As Linux names them; what each is good for is OpenVINO's business.
FEATURES = {"avx2": "AVX2", "avx512f": "AVX-512", "avx_vnni": "AVX-VNNI", "avx512_vnni": "AVX-512 VNNI",
            "avx512_bf16": "AVX-512 BF16", "amx_bf16": "AMX BF16", "amx_int8": "AMX INT8"}
MEMORY_WANTED, DISK_WANTED = 2e9, 1e9  # bytes free, for the practice model; the larger ones have a table of their own
UNNAMED = "…"


@dataclass(frozen=True)
class Line:
    subject: str
    found: str
    problem: str = ""  # and what to do; empty when all is well


def main(arguments: list[str]) -> int:
    """Prints the table; returns 1 if a line of it is a problem."""
    parser = argparse.ArgumentParser(prog="python -m notebook_utils", description="What a bug report should say.")
    parser.add_argument("command", choices=["check"])
    parser.parse_args(arguments)
    lines = [*python_lines(), *package_lines(), *processor_lines(), *device_lines(), *room_lines(), *export_lines()]
    print(anonymous(table(lines)))
    return int(any(line.problem for line in lines))


def table(lines: list[Line]) -> str:
    rows = [(line.subject, line.found, f"problem: {line.problem}" if line.problem else "ok") for line in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [("", "found", "verdict"), ("---",) * 3, *rows])


def anonymous(text: str) -> str:
    """`text` without this project's folder, the reader's home, and the names of the reader and of the machine."""
    for folder, stand_in in ((MODELS_DIR.parent, "."), (Path.cwd(), "."), (Path.home(), "~")):
        if folder != folder.parent:  # a home of "/" would take every slash along
            text = text.replace(str(folder), stand_in)
    for name in (socket.gethostname(), user_name()):
        if name:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", UNNAMED, text, flags=re.IGNORECASE)
    return text


def user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in some containers
        return ""


# ---- Python and its packages -----------------------------------------------------------------------------------------

def python_lines() -> list[Line]:
    fits = PYTHON_MIN <= sys.version_info[:2] <= PYTHON_MAX
    bits = "64-bit" if sys.maxsize > 2**32 else "32-bit"
    return [Line("Python", f"{platform.python_implementation()} {platform.python_version()}, {bits}",
                 "" if fits else f"the packages need {python_range()}: install one of these"),
            Line("system", f"{platform.system()} {platform.release()} {platform.machine()}")]


def package_lines() -> list[Line]:
    """One for each package that the export depends on, with the window that was tried."""
    lines = []
    for name, (window, why) in WINDOW.items():
        outside = problem_with(name, window, why)
        problem = f"tried with {window} ({why}). {ADVICE}" if outside else ""
        lines.append(Line(name, installed(name) or "not installed", problem))
    return lines


# ---- what computes ---------------------------------------------------------------------------------------------------

def processor_lines() -> list[Line]:
    """The instructions that speed depends on, where the system lists them (Linux on Intel and AMD)."""
    flags = re.search(r"^flags\s*:(.*)$", CPUINFO.read_text(encoding="utf-8") if CPUINFO.exists() else "", re.MULTILINE)
    if flags is None:
        return [Line("CPU instructions", "not listed by this system")]
    found = [shown for flag, shown in FEATURES.items() if flag in flags[1].split()]
    slow = "" if "AVX2" in found else "without AVX2 a large model takes many times longer: use another machine for it"
    return [Line("CPU instructions", ", ".join(found) or "none of AVX2 and its successors", slow)]


def device_lines() -> list[Line]:
    """What OpenVINO runs on here."""
    try:
        devices = available_devices()
    except Exception as error:  # a broken install or driver may raise anything, and that is what is to be told
        return [Line("OpenVINO", "does not start", f"{one_line(error)}. {ADVICE}")]
    none = Line("OpenVINO", "finds no device", f"not even the CPU. {ADVICE}")
    return [device_line(name) for name in devices] or [none]


def device_line(name: str) -> Line:
    import openvino

    core = openvino.Core()
    try:
        known = list(core.get_property(name, "SUPPORTED_PROPERTIES"))
        full_name, can = (core.get_property(name, key) for key in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES"))
        drivers = [f"driver {core.get_property(name, key)}" for key in known if key.endswith("DRIVER_VERSION")]
        plugins = [f"plugin {plugin.build_number}" for plugin in core.get_versions(name).values()]
    except Exception as error:  # whatever a driver raises
        return Line(name, "does not answer", f"{one_line(error)}. Update its driver, or choose CPU")
    return Line(name, "; ".join([full_name, ", ".join(sorted(can)), *drivers, *plugins]))


def one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".replace("|", "/")


# ---- room and exports ------------------------------------------------------------------------------------------------

def room_lines() -> list[Line]:
    here = this_machine(MODELS_DIR)
    return [Line("memory", f"{here.memory_free / 1e9:.1f} GB free of {here.memory_total / 1e9:.1f} GB",
                 "" if here.memory_free >= MEMORY_WANTED else "even the practice model may not fit: close programs"),
            Line("disk", f"{here.disk_free / 1e9:.1f} GB free where models/ is",
                 "" if here.disk_free >= DISK_WANTED else "an export may not fit: delete what you can spare"),
            Line("cores", str(here.cores))]


def export_lines() -> list[Line]:
    """What is in models/; every byte of it is read."""
    return [export_line(model) for model in list_models_on_disk()] or [Line("exports", "none in models/")]


def export_line(model: ModelOnDisk) -> Line:
    if not model.whole:
        problem = "what an export left that was interrupted (or is going on now): the next one clears it away"
    elif problem := "; ".join(verify_hashes(model.path)):
        problem = f"{problem}. Delete it with delete_model({model.name!r}) and export again"
    return Line(f"models/{model.name}", f"{model.size / 1e6:,.0f} MB", problem.replace("|", "/"))
