"""`python -m notebook_utils check`: the table, its verdicts, and that it says nothing about whose machine it is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from catalog import on_disk
from catalog.on_disk import ModelOnDisk
from environment import report
from environment.machine import Machine
from environment.report import Line

ROOT = Path(__file__).resolve().parent.parent
SOMEONE = "annabell"


@pytest.fixture
def someones_copy(tmp_path) -> Path:
    """The helpers in a folder that says whose it is."""
    folder = tmp_path / SOMEONE / "work of annabell"
    for name in ("adapters", "catalog", "environment", "export", "figures", "tiny_model", "session"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "notebook_utils.py", folder)
    shutil.copytree(ROOT / "benchmarks" / "results", folder / "benchmarks" / "results")
    return folder


def run_check(folder: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "HOME": str(folder.parent), "USERPROFILE": str(folder.parent), "LOGNAME": SOMEONE}
    return subprocess.run([sys.executable, "-m", "notebook_utils", "check"], cwd=folder, env=environment,
                          capture_output=True, text=True)


def cells(table: str) -> list[list[str]]:
    """The rows of a Markdown table, as their cells."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]


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

    rows = {row[0]: row for row in cells(done.stdout)}
    assert done.stdout.count("problem: ") == 2 and done.returncode == 1, done.stdout + done.stderr
    assert rows["models/whole/INT4"][1].endswith(" MB") and rows["models/whole/INT4"][2] == "ok"
    assert "openvino_language_model.bin is not what was exported" in rows["models/damaged/INT4"][2]
    assert "delete_model('damaged/INT4')" in rows["models/damaged/INT4"][2]
    assert rows["models/interrupted/.INT4.partial"][2].startswith("problem: what an export left")
    for subject in ("Python", "system", "transformers", "openvino", "CPU instructions", "CPU", "memory", "disk"):
        assert rows[subject][2] == "ok"
    assert SOMEONE not in done.stdout.lower()
    assert str(Path(sys.prefix)) not in done.stdout


def test_without_a_problem_the_exit_code_is_0(monkeypatch, capsys):
    for name in ("package_lines", "processor_lines", "device_lines", "room_lines"):
        monkeypatch.setattr(report, name, lambda *_: [])
    assert report.main(["check"], ROOT / "models", lambda: [Line("exports", "none in models/")]) == 0
    shown = capsys.readouterr().out
    assert [row[0] for row in cells(shown)][2:] == ["Python", "system", "exports"] and "CPython" in shown


def test_another_word_than_check_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        report.main(["chekc"], ROOT / "models", list)
    assert ended.value.code == 2
    assert "chekc" in capsys.readouterr().err


def test_names_and_folders_are_left_out_wherever_they_stand(monkeypatch, tmp_path):
    monkeypatch.setattr(report.socket, "gethostname", lambda: "annas-laptop")
    monkeypatch.setattr(report, "user_name", lambda: "anna")
    monkeypatch.setenv("HOME", str(tmp_path / "anna"))
    monkeypatch.chdir(tmp_path)
    text = f"{tmp_path}/anna/x, {tmp_path}/y, Annas-Laptop, anna's, banana, {ROOT}/models"
    shown = report.anonymous(text, project=ROOT)
    assert shown == "./anna/x, ./y, …, …'s, banana, ./models".replace("anna/", "…/")


def test_a_home_at_the_root_leaves_slashes_alone(monkeypatch):
    monkeypatch.setenv("HOME", "/")
    assert report.anonymous("a/b", project=ROOT) == "a/b"


def test_a_package_outside_the_window_is_a_problem_with_what_to_do(monkeypatch):
    monkeypatch.setattr(report, "WINDOW", {"torch": ("<1", "old ones only"), "no-such-package": (">0", "none")})
    old, missing = report.package_lines()
    assert old.problem.startswith("tried with <1 (old ones only). Install the set that was tried")
    assert (missing.found, bool(missing.problem)) == ("not installed", True)


@pytest.mark.parametrize(("flags", "found", "problem"), [
    ("flags : fpu sse4_2 avx2 avx512f avx512_vnni amx_int8", "AVX2, AVX-512, AVX-512 VNNI, AMX INT8", False),
    ("flags : fpu sse4_2", "none of AVX2 and its successors", True),
    ("Features : asimd", "not listed by this system", False),
])
def test_instructions_are_read_from_linux(monkeypatch, tmp_path, flags, found, problem):
    monkeypatch.setattr(report, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\nbugs : none\n")
    (line,) = report.processor_lines()
    assert (line.found, bool(line.problem)) == (found, problem)


def test_a_device_that_does_not_answer_is_a_problem(monkeypatch):
    monkeypatch.setattr(report, "available_devices", lambda: ["CPU", "GPU.7"])
    cpu, gpu = report.device_lines()
    assert (cpu.subject, cpu.problem) == ("CPU", "")
    assert "plugin " in cpu.found and "FP32" in cpu.found
    assert (gpu.found, gpu.problem.endswith("Update its driver, or choose CPU")) == ("does not answer", True)


@pytest.mark.parametrize("devices", [list, lambda: 1 / 0])
def test_an_openvino_that_finds_nothing_or_breaks_is_a_problem(monkeypatch, devices):
    monkeypatch.setattr(report, "available_devices", devices)
    (line,) = report.device_lines()
    assert line.subject == "OpenVINO" and "Install the set that was tried" in line.problem


@pytest.mark.parametrize(("memory", "disk", "problems"), [(10**10, 10**10, 0), (10**9, 10**10, 1), (10**9, 10**8, 2)])
def test_too_little_room_is_a_problem(monkeypatch, memory, disk, problems):
    monkeypatch.setattr(report, "this_machine", lambda folder: Machine(memory, 2 * 10**10, disk, 2))
    assert sum(bool(line.problem) for line in report.room_lines(ROOT / "models")) == problems


def test_a_bar_in_a_message_does_not_break_the_table(monkeypatch, tmp_path):
    monkeypatch.setattr(on_disk, "verify_hashes", lambda folder: ["a | b"])
    line = on_disk.export_line(ModelOnDisk("a/INT4", tmp_path, 10, whole=True))
    assert len(cells(report.table([line]))[-1]) == 3
    assert cells(report.table([Line("a", "b")]))[-1] == ["a", "b", "ok"]


def test_the_report_looks_at_no_model_itself():
    """What it says of exports comes from outside: `environment` knows no models."""
    assert "catalog" not in Path(report.__file__).read_text(encoding="utf-8").replace("`catalog.on_disk`", "")
