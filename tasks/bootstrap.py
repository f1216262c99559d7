"""Make `.venv` and install the pinned packages into it, or say in one line what to do instead.

    python3 -m tasks.bootstrap            # what the notebook and the page need
    python3 -m tasks.bootstrap --tests    # and what the tests need
    python3 -m tasks.bootstrap --serve    # and what serving/ needs

From the repository's folder. Here: the checks before an install (Python, disk, permissions), `.venv`, pip. Not here:
which Pythons will do (environment/supported_python.py), which build of torch (environment/torch_build.py), which
packages, at which version and why (requirements.txt and its sisters).

Only the standard library, and only syntax that Python 3.6 reads, so that a Python which is too old gets our message
and not a SyntaxError. A second call with nothing to do takes a fraction of a second.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from environment.supported_python import PYTHON_MAX, PYTHON_MIN, is_supported, python_range
from environment.torch_build import cpu_build

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
# Free disk wanted at the peak, the installed packages plus the downloads they come from: with torch's default build on
# Linux, with its CPU build, and for what the tests add.
GB_DEFAULT, GB_CPU, GB_TESTS = 11, 4, 1
PIP_ADVICE = (
    "pip failed, its own message is above: check the connection (behind a proxy, set HTTPS_PROXY) and try again; "
    "what was downloaded is kept"
)
FULL_DISK = re.compile("No space left on device|Disk quota exceeded")


class SetupError(Exception):
    """Set-up cannot go on; the message is one line that says what to do."""


def main(argv=None):
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Make .venv and install the pinned packages.")
    parser.add_argument("--tests", action="store_true", help="also install what the tests need")
    parser.add_argument("--serve", action="store_true", help="also install what serving/ needs")
    args = parser.parse_args(argv)
    names = ["requirements.txt"]
    names += ["requirements-test.txt"] if args.tests else []
    names += ["requirements-serve.txt"] if args.serve else []
    try:
        set_up(names)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; the same command starts again, with what pip has downloaded", file=sys.stderr)
        return 130
    return 0


def set_up(names):
    """Bring `.venv` to what the requirement files `names` say; returns at once when it is there already."""
    stamps = {name: VENV / f".installed-{name}" for name in names}
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in names}
    version = venv_version()
    missing = [name for name in names if not (version and is_text(stamps[name], texts[name]))]
    if not missing:
        return
    # A `.venv` that the reader made counts more than the Python this file runs on.
    python = version or tuple(sys.version_info[:2])
    check_python(python)
    check_writable()
    has_torch = version and "requirements.txt" not in missing
    cpu = [] if has_torch else cpu_build("\n".join(texts.values()), python)
    if has_torch:
        check_disk(GB_TESTS)
    elif cpu or not sys.platform.startswith("linux"):
        check_disk(GB_CPU)
    else:
        check_disk(GB_DEFAULT)
    if not version:
        make_venv()
    install([part for name in names for part in ("-r", str(ROOT / name))] + cpu)
    for name in names:
        stamps[name].write_text(texts[name], encoding="utf-8")


def is_text(path, text):
    """Whether the file `path` exists and holds exactly `text`."""
    return path.is_file() and path.read_text(encoding="utf-8") == text


def venv_python():
    """Path of the Python inside `.venv` (which may not exist yet)."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def venv_version():
    """(major, minor) of `.venv`'s Python, or None where there is none that runs and has pip."""
    command = [str(venv_python()), "-c", "import sys, pip; print(*sys.version_info[:2])"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return tuple(int(part) for part in done.stdout.split())


def check_python(version):
    """Raise SetupError unless `version`, (major, minor), is one that the pins support."""
    if is_supported(version):
        return
    usable = [f"python3.{minor}" for minor in range(PYTHON_MAX[1], PYTHON_MIN[1] - 1, -1)]
    found = next((name for name in usable if shutil.which(name)), None)
    advice = f"this machine has {found}: add PYTHON={found} to the make command, or run `{found} -m tasks.bootstrap`"
    if not found:
        advice = "install 3.12 from python.org or, without root, `uv venv --seed --python 3.12 .venv`, then try again"
    if venv_version():
        advice = f"remove the folder {VENV} and try again"
    raise SetupError(f"Python {version[0]}.{version[1]} will not do, the packages need {python_range()}; {advice}")


def check_writable():
    """Raise SetupError unless files can be made in `.venv`; leaves the folder there."""
    probe = VENV / ".writable"
    try:
        VENV.mkdir(exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        advice = disk_advice(GB_DEFAULT) if FULL_DISK.search(str(error)) else "clone into a folder of your own"
        raise SetupError(f"cannot write to {VENV} ({error.strerror}): {advice}") from None


def check_disk(need):
    """Raise SetupError when fewer than `need` GB are free where `.venv` lies."""
    if shutil.disk_usage(str(ROOT)).free < need * 1e9:
        raise SetupError(disk_advice(need))


def disk_advice(need):
    """One line for a disk that is full, or would be; `need` in GB."""
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    return f"{free:.1f} GB are free at {ROOT} and the install needs {need}: free some, or clone onto a larger disk"


def make_venv():
    """Create `.venv`; one that is there but does not run (interrupted, its Python gone) is made again."""
    print("Making .venv with Python {}.{}".format(*sys.version_info), flush=True)
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        shutil.rmtree(str(VENV), ignore_errors=True)
        raise SetupError(venv_advice(done.stdout.decode("utf-8", "replace")))


def venv_advice(output):
    """One line for a `python -m venv` that failed and printed `output`."""
    if "ensurepip" in output:
        package = "python{}.{}-venv".format(*sys.version_info)
        return (
            f"this Python has no ensurepip and cannot make .venv: `sudo apt install {package}` or, without root, "
            "`uv venv --seed --python 3.12 .venv`, then try again"
        )
    last = (output.strip().splitlines() or ["it printed nothing"])[-1]
    return f"`{sys.executable} -m venv` failed ({last}): repair or reinstall this Python, then try again"


def install(arguments):
    """`pip install` with its progress on screen; raise SetupError with one line when it fails.

    Temporary files go inside `.venv`: /tmp is often small or in memory, and torch's downloads would fill it.
    """
    scratch = VENV / "tmp"
    scratch.mkdir(exist_ok=True)
    command = [str(venv_python()), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", *arguments]
    environment = dict(os.environ, TMPDIR=str(scratch), TEMP=str(scratch), TMP=str(scratch))
    full = False
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as pip:
        for line in pip.stderr:
            text = line.decode("utf-8", "replace")
            sys.stderr.write(text)
            full = full or bool(FULL_DISK.search(text))
    shutil.rmtree(str(scratch), ignore_errors=True)
    if pip.returncode:
        raise SetupError(disk_advice(GB_DEFAULT) if full else PIP_ADVICE)


if __name__ == "__main__":
    sys.exit(main())
