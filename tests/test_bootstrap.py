"""From a bare clone to a working `.venv`: tasks/bootstrap.py. The pins are in test_pins.py, the rest in test_tasks.py.

Nothing heavy is installed: clones are copies of our files with requirements of a few bytes.
"""

import ast
import errno
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import environment
import tasks
from environment import supported_python, torch_build
from environment.supported_python import python_range
from tasks import bootstrap
from tests.clones import make_clone, run, script

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is a second build for Linux only")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A folder for pip to find packages in, with `tiny` 1.0 and `tiny-test` 1.0."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in ("tiny", "tiny_test"):
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            info = f"{name}-1.0.dist-info"
            wheel.writestr(f"{name}.py", "")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    return folder


@pytest.fixture
def clone(tmp_path):
    return make_clone(tmp_path)


@pytest.fixture
def here(clone, monkeypatch):
    """`clone`, with bootstrap, imported in this process, working on it."""
    monkeypatch.setattr(bootstrap, "ROOT", clone)
    monkeypatch.setattr(bootstrap, "VENV", clone / ".venv")
    set_free_disk(monkeypatch, gigabytes=1000)
    return clone


def set_free_disk(monkeypatch, gigabytes):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=gigabytes * 10**9))


def test_make_sets_up_a_clone_in_a_path_with_spaces_and_is_quick_the_second_time(clone, wheels):
    python = f"PYTHON={sys.executable}"
    first = run(["make", "setup-tests", python], clone, PIP_FIND_LINKS=wheels.as_uri())
    assert first.returncode == 0, first.stderr
    assert run([".venv/bin/python", "-c", "import tiny, tiny_test"], clone).returncode == 0
    assert not (clone / ".venv/tmp").exists()

    second = run(["make", "setup", "setup-tests", python], clone)  # no package to be found any more, and none needed
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")

    (clone / ".venv/bin/python").unlink()  # as after the Python it was made with has gone
    third = run(["make", "setup", python], clone, PIP_FIND_LINKS=wheels.as_uri())
    assert third.returncode == 0, third.stderr
    assert run([".venv/bin/python", "-c", "import tiny"], clone).returncode == 0

    (clone / "requirements.txt").write_text("tiny==2.0  # there is none\n")
    fourth = run([sys.executable, "-m", "tasks.bootstrap"], clone, PIP_FIND_LINKS=wheels.as_uri())
    assert fourth.returncode == 1
    assert fourth.stderr.splitlines()[-1] == f"setup: {bootstrap.PIP_ADVICE}"


def only_line(capsys):
    """The one line on stderr."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("version", [(3, 8, 10), (3, 10, 14), (3, 14, 0), (4, 0, 0)])
def test_python_outside_the_range_is_refused_by_name(here, version, monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setenv("PATH", "")
    assert bootstrap.main([]) == 1
    line = only_line(capsys)
    assert f"Python {version[0]}.{version[1]} will not do" in line and python_range() in line
    assert "install 3.12" in line
    assert not (here / ".venv").exists()


def test_a_fitting_python_on_the_machine_is_named(here, monkeypatch, capsys):
    script(here / "bin/python3.12", "exit 0")
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setenv("PATH", str(here / "bin"))
    assert bootstrap.main([]) == 1
    assert "PYTHON=python3.12" in only_line(capsys)


@pytest.mark.parametrize("module", [tasks, bootstrap, environment, supported_python, torch_build])
def test_old_python_reads_the_files_far_enough_to_say_so(module):
    ast.parse(Path(module.__file__).read_text(), feature_version=(3, 6))


def test_set_up_needs_nothing_but_the_standard_library(clone):
    """Neither a package nor a room that is not in the clone."""
    done = run([sys.executable, "-I", "-S", "-c", "import sys; sys.path.insert(0, '.'); import tasks.bootstrap"], clone)
    assert (done.returncode, done.stderr) == (0, "")


def test_venv_of_a_fitting_python_is_kept_whatever_python_asks(here, monkeypatch):
    """The way out for those who cannot install a Python: they make `.venv` with another tool."""
    script(here / ".venv/bin/python", 'case "$1" in -c) echo 3 12;; *) echo "$@" > pip-was-called;; esac')
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    assert bootstrap.main([]) == 0
    assert "pip --disable-pip-version-check --no-input install -r" in (here / "pip-was-called").read_text()


def test_venv_of_a_wrong_python_is_named(here, capsys):
    script(here / ".venv/bin/python", "echo 3 8")
    assert bootstrap.main([]) == 1
    assert f"remove the folder {here / '.venv'}" in only_line(capsys)


def test_missing_ensurepip_is_said_in_one_line_and_leaves_nothing_behind(here, monkeypatch, capsys):
    debian = "The virtual environment was not created successfully because ensurepip is not\navailable."
    monkeypatch.setattr(sys, "executable", str(script(here / "python3", f"echo '{debian}'; exit 1")))
    assert bootstrap.main([]) == 1
    assert f"sudo apt install python3.{sys.version_info[1]}-venv" in only_line(capsys)
    assert not (here / ".venv").exists()


def test_file_in_the_way_of_venv_is_said_in_one_line(here, capsys):
    (here / ".venv").write_text("")
    assert bootstrap.main([]) == 1
    assert f"cannot write to {here / '.venv'} (File exists)" in only_line(capsys)


@on_linux
def test_unwritable_folder_is_said_in_one_line(here, monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, "VENV", Path("/sys/.venv"))  # nobody can make a folder there, root included
    assert bootstrap.main([]) == 1
    assert "cannot write to /sys/.venv" in only_line(capsys)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_disk_without_a_byte_is_said_in_one_line(here, number, monkeypatch, capsys):
    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "touch", refuse)
    assert bootstrap.main([]) == 1
    assert "free some, or clone onto a larger disk" in only_line(capsys)


def test_disk_too_small_is_refused_before_anything_is_downloaded(here, monkeypatch, capsys):
    set_free_disk(monkeypatch, gigabytes=3)
    assert bootstrap.main([]) == 1
    assert re.search(r"3\.0 GB are free at .* and the install needs \d+", only_line(capsys))


def test_tests_are_added_where_the_rest_is_installed_without_room_for_all_of_it_again(here, monkeypatch):
    python = script(here / ".venv/bin/python", "case $1 in -c) echo 3 12;; esac")
    assert bootstrap.main([]) == 0
    set_free_disk(monkeypatch, gigabytes=2)
    assert bootstrap.main(["--tests"]) == 0
    python.unlink()
    assert bootstrap.main(["--tests"]) == 1


def test_disk_that_fills_up_during_the_install_is_said_in_the_last_line(here, capsys):
    message = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
    script(here / ".venv/bin/python", f'case "$1" in -c) echo 3 12;; *) echo "{message}" >&2; exit 1;; esac')
    assert bootstrap.main([]) == 1
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == message  # pip's own words are not swallowed
    assert "clone onto a larger disk" in shown[-1]
    assert not list((here / ".venv").glob(".installed-*"))
