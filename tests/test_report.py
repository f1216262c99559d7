"""`python -m notebook_utils check`: the table, its verdicts, and that it says nothing about whose machine it is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.on_disk import ModelOnDisk
from environment import report as check
from environment.machine import Machine
from environment.report import Line

ROOT = Path(__file__).resolve().parent.parent
SOMEONE = "annabell"


@pytest.fixture
def someones_copy(tmp_path) -> Path:
    """The helpers in a folder that says whose it is."""
    folder = tmp_path / SOMEONE / "work of annabell"
    for name in ("tutorial", "tasks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "notebook_utils.py", folder)
    return folder


def run_check(folder: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "HOME": str(folder.parent), "USERPROFILE": str(folder.parent), "LOGNAME": SOMEONE}
    return subprocess.run([sys.executable, "-m", "notebook_utils", "check"], cwd=folder, env=environment,
                          capture_output=True, text=True)


def test_the_table_names_the_machine_and_nobody_and_finds_damage(someones_copy, int4_dir):
    models = someones_copy / "models"
    for name in ("whole", "damaged"):
        shutil.copytree(int4_dir, models / name / "INT4")
    weights = models / "damaged/INT4/openvino_language_model.bin"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    (models / "interrupted" / ".INT4.partial").mkdir(parents=True)

    done = run_check(someones_copy)

    rows = {line.split("|")[1].strip(): line for line in done.stdout.splitlines()}
    assert done.stdout.count("problem: ") == 2 and done.returncode == 1, done.stdout + done.stderr
    assert rows["models/whole/INT4"].endswith("MB | ok |")
    assert "openvino_language_model.bin is not what was exported" in rows["models/damaged/INT4"]
    assert "delete_model('damaged/INT4')" in rows["models/damaged/INT4"]
    assert "problem: what an export left" in rows["models/interrupted/.INT4.partial"]
    for subject in ("Python", "system", "transformers", "openvino", "CPU instructions", "CPU", "memory", "disk"):
        assert rows[subject].endswith("| ok |")
    assert SOMEONE not in done.stdout.lower()
    assert str(Path(sys.prefix)) not in done.stdout


def test_without_a_problem_the_exit_code_is_0(monkeypatch, capsys):
    for name in ("package_lines", "processor_lines", "device_lines", "room_lines", "export_lines"):
        monkeypatch.setattr(check, name, lambda: [])
    assert check.main(["check"]) == 0
    assert "| Python | CPython" in capsys.readouterr().out


def test_another_word_than_check_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        check.main(["chekc"])
    assert ended.value.code == 2
    assert "chekc" in capsys.readouterr().err


def test_names_and_folders_are_left_out_wherever_they_stand(monkeypatch, tmp_path):
    monkeypatch.setattr(check.socket, "gethostname", lambda: "annas-laptop")
    monkeypatch.setattr(check, "user_name", lambda: "anna")
    monkeypatch.setenv("HOME", str(tmp_path / "anna"))
    monkeypatch.chdir(tmp_path)
    shown = check.anonymous(f"{tmp_path}/anna/x, {tmp_path}/y, Annas-Laptop, anna's, banana, {ROOT}/models")
    assert shown == "./anna/x, ./y, …, …'s, banana, ./models".replace("anna/", "…/")


def test_a_home_at_the_root_leaves_slashes_alone(monkeypatch):
    monkeypatch.setenv("HOME", "/")
    assert check.anonymous("a/b") == "a/b"


def test_a_package_outside_the_window_is_a_problem_with_what_to_do(monkeypatch):
    monkeypatch.setattr(check, "WINDOW", {"torch": ("<1", "old ones only"), "no-such-package": (">0", "none")})
    old, missing = check.package_lines()
    assert old.problem.startswith("tried with <1 (old ones only). Install the set that was tried")
    assert (missing.found, bool(missing.problem)) == ("not installed", True)


@pytest.mark.parametrize(("flags", "found", "problem"), [
    ("flags : fpu sse4_2 avx2 avx512f avx512_vnni amx_int8", "AVX2, AVX-512, AVX-512 VNNI, AMX INT8", False),
    ("flags : fpu sse4_2", "none of AVX2 and its successors", True),
    ("Features : asimd", "not listed by this system", False),
])
def test_instructions_are_read_from_linux(monkeypatch, tmp_path, flags, found, problem):
    monkeypatch.setattr(check, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\nbugs : none\n")
    (line,) = check.processor_lines()
    assert (line.found, bool(line.problem)) == (found, problem)


def test_a_device_that_does_not_answer_is_a_problem(monkeypatch):
    monkeypatch.setattr(check, "available_devices", lambda: ["CPU", "GPU.7"])
    cpu, gpu = check.device_lines()
    assert (cpu.subject, cpu.problem) == ("CPU", "")
    assert "plugin " in cpu.found and "FP32" in cpu.found
    assert (gpu.found, gpu.problem.endswith("Update its driver, or choose CPU")) == ("does not answer", True)


@pytest.mark.parametrize("devices", [list, lambda: 1 / 0])
def test_an_openvino_that_finds_nothing_or_breaks_is_a_problem(monkeypatch, devices):
    monkeypatch.setattr(check, "available_devices", devices)
    (line,) = check.device_lines()
    assert line.subject == "OpenVINO" and "Install the set that was tried" in line.problem


@pytest.mark.parametrize(("memory", "disk", "problems"), [(10**10, 10**10, 0), (10**9, 10**10, 1), (10**9, 10**8, 2)])
def test_too_little_room_is_a_problem(monkeypatch, memory, disk, problems):
    monkeypatch.setattr(check, "this_machine", lambda folder: Machine(memory, 2 * 10**10, disk, 2))
    assert sum(bool(line.problem) for line in check.room_lines()) == problems


def test_a_bar_in_a_message_does_not_break_the_table(monkeypatch, tmp_path):
    monkeypatch.setattr(check, "verify_hashes", lambda folder: ["a | b"])
    line = check.export_line(ModelOnDisk("a/INT4", tmp_path, 10, whole=True))
    assert check.table([line]).splitlines()[-1].count("|") == 4
    assert check.table([Line("a", "b")]).endswith("| a | b | ok |")
