"""An export that something goes wrong with: no model or a whole one, the next run goes on, nothing is left behind.

The real exporter is killed at two moments of one seed, which is printed; `tests/stress/faults.py` does that twenty
times, and fills disks. The rest needs no real exporter: a stand-in writes in its place, in processes of their own.
"""

import contextlib
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

import cmd_helper
import export.run
from catalog.manifest import verify_hashes
from catalog.model_folder import require_model_dir
from cmd_helper import ExportError, optimum_cli
from export import process
from tests.stress import breaking

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")

EXPORT_S = 6  # an export takes longer than that wherever tests run: the first kill comes before its end
WRITING_S = 0.5  # and it writes for longer than that: the second kill comes meanwhile
GONE_S = 5  # for a process that is being ended, on a busy machine
# An export in a process of its own, whose exporter is a few lines: it names itself in every file that it writes.
STAND_IN = """
import sys; import cmd_helper, export.run
WRITE = '''
import os, sys, time; from pathlib import Path
out = Path(sys.argv[5]); out.mkdir()
for part in range(20):
    (out / f"openvino_{part}.bin").write_text(str(os.getpid()))
    (out / f"openvino_{part}.xml").write_text("<net></net>")
    time.sleep(0.02)
'''
export.run.exporter_argv = lambda command: [sys.executable, "-S", "-c", WRITE, *command[1:]]
try: cmd_helper.optimum_cli("owner/name", sys.argv[2])
except cmd_helper.ExportError as error: sys.exit(str(error))
"""
WITHOUT_DEATH_SIGNAL = "from export import process; process.with_parent_death_signal = lambda argv: argv\n"
WITHOUT_DEATH_SIGNAL += STAND_IN.replace("0.02", "0.15")


def stand_in(output: Path, code: str = STAND_IN):
    return breaking.start(Path("-"), output, output.parent.parent / "screen.txt", code)


def screen(output: Path) -> str:
    return (output.parent.parent / "screen.txt").read_text()


def is_whole_and_of_one_exporter(output: Path) -> bool:
    writers = {path.read_text() for path in output.glob("*.bin")}
    return len(list(output.glob("*.bin"))) == 20 and len(writers) == 1 and verify_hashes(output) == []


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "models" / "INT4"


# ---- SIGKILL --------------------------------------------------------------------------------------------------------

def test_the_real_export_killed_twice_is_made_whole_by_the_third_run(tiny_dir, output):
    seed = int(time.time())
    print(f"seed {seed}")
    rng, told = random.Random(seed), output.parent.parent / "screen.txt"
    breaking.kill_exporter(breaking.start(tiny_dir, output, told), rng.uniform(0, EXPORT_S))
    assert not output.exists() and breaking.left_over(output) == set()
    assert "the system ended it, most often for lack of memory" in screen(output)
    second = breaking.start(tiny_dir, output, told)
    breaking.wait_for_files(second, output)
    orphan = breaking.kill_all(second, rng.uniform(0, WRITING_S))
    last = breaking.start(tiny_dir, output, told)
    assert orphan and breaking.seconds_until_gone(orphan) < GONE_S
    assert not output.exists()
    assert last.wait() == 0, screen(output)
    assert "was interrupted: what it left is removed" in screen(output)
    assert verify_hashes(require_model_dir(output)) == []
    assert breaking.left_over(output) == set()


def test_an_export_killed_at_many_moments_is_never_half_there(output):
    rng = random.Random(0)
    for _ in range(8):
        breaking.kill_all(stand_in(output), rng.uniform(0, 0.5))
        if output.exists():
            assert is_whole_and_of_one_exporter(output)
            shutil.rmtree(output)
    assert stand_in(output).wait() == 0, screen(output)
    assert is_whole_and_of_one_exporter(output) and breaking.left_over(output) == set()


def test_an_orphan_that_nothing_ends_holds_the_next_export_back(output):
    """As where there is no parent-death signal, such as macOS: two that write to one folder would make one model of
    two.
    """
    orphan = breaking.kill_all(stand_in(output, WITHOUT_DEATH_SIGNAL), 0.1)
    os.kill(orphan, 0)  # it goes on
    assert stand_in(output).wait() == 0
    assert "Another process is exporting to" in screen(output)
    assert is_whole_and_of_one_exporter(output) and breaking.left_over(output) == set()


def test_the_exporter_goes_when_the_process_that_started_it_does(output):
    orphan = breaking.kill_all(stand_in(output, STAND_IN.replace("0.02", "1")), 0.1)  # by itself it takes 20 s
    assert breaking.seconds_until_gone(orphan) < GONE_S


# ---- two at once ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("first_is_killed", [False, True])
def test_of_two_exports_at_once_one_makes_the_model_and_both_have_it(output, first_is_killed):
    first = stand_in(output)
    maker = breaking.exporter_of(first)
    second = stand_in(output)
    if first_is_killed:
        deadline = time.monotonic() + 30
        while "waiting for it" not in screen(output) and first.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        first.kill()
    assert (first.wait() == 0) != first_is_killed and second.wait() == 0
    assert is_whole_and_of_one_exporter(output) and breaking.left_over(output) == set()
    assert "waiting for it" in screen(output)
    made_by_the_first = (output / "openvino_0.bin").read_text() == str(maker)
    assert made_by_the_first != first_is_killed


# ---- disks and sources ----------------------------------------------------------------------------------------------

def short_files(command: list[str]) -> list[str]:
    """The real exporter, for which no file may be longer than 100 kB: much as on a full disk, without being root."""
    limit = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000,) * 2); os.execv(sys.argv[1],"
    return [sys.executable, "-c", f"{limit} sys.argv[1:])", *real_argv(command)]


real_argv = export.run.exporter_argv


def test_a_disk_that_takes_no_more_is_told_and_leaves_nothing(tiny_dir, output, monkeypatch):
    monkeypatch.setattr(export.run, "exporter_argv", short_files)
    with pytest.raises(ExportError, match=r"(?s)What to do: .*(disk|file)") as caught:
        optimum_cli(tiny_dir, output, additional_args={"weight-format": "int4"})
    assert caught.value.returncode == 1
    assert not output.exists() and breaking.left_over(output) == set()


WRITES_LESS = """import sys; from pathlib import Path; out = Path(sys.argv[5]); out.mkdir()
(out / "openvino_x.xml").write_text('<net><data offset="0" shape="4" size="4" /></net>')
(out / "openvino_x.bin").touch()
"""


def test_weights_that_were_not_all_written_are_no_model_whatever_the_exporter_says(output, monkeypatch):
    monkeypatch.setattr(export.run, "exporter_argv",
                        lambda command: [sys.executable, "-c", WRITES_LESS, *command[1:]])
    with pytest.raises(ExportError, match=r"half a model: openvino_x\.bin has 0 of 4 bytes(?s:.*)disk is probably"):
        optimum_cli("owner/name", output)
    assert not output.exists() and breaking.left_over(output) == set()


def test_a_manifest_that_the_disk_has_no_room_for_leaves_nothing(output, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.run, "exporter_argv", lambda command: [
        sys.executable, "-c", WRITES_LESS.replace('size="4"', 'size="0"'), *command[1:]])
    monkeypatch.setattr(cmd_helper, "write_manifest", full)
    with pytest.raises(ExportError, match=r"No space left on device(?s:.*)free some disk space"):
        optimum_cli("owner/name", output)
    assert not output.exists() and breaking.left_over(output) == set()


@contextlib.contextmanager
def nobody():
    """Without root's rights to write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_written_is_told_before_anything_starts(monkeypatch):
    monkeypatch.setattr(export.run, "exporter_argv", lambda command: pytest.fail("an exporter was started"))
    with tempfile.TemporaryDirectory() as folder:  # not in pytest's, into which nobody may look
        place = Path(folder)
        place.chmod(0o555)
        with nobody(), pytest.raises(ExportError, match=r"(?s)Permission denied.*choose a folder that you may"):
            optimum_cli("owner/name", place / "INT4")
        assert list(place.iterdir()) == []
        place.chmod(0o755)


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_weights_that_break_off_are_refused_before_anything_starts(tiny_dir, tmp_path, output, monkeypatch, share):
    monkeypatch.setattr(export.run, "exporter_argv", lambda command: pytest.fail("an exporter was started"))
    source = shutil.copytree(tiny_dir, tmp_path / "source")
    weights = source / "model.safetensors"
    os.truncate(weights, int(weights.stat().st_size * share))
    with pytest.raises(ExportError, match=r"model\.safetensors (breaks off|has [\d,]+ of).* Download or copy it again"):
        optimum_cli(source, output)
    assert not output.parent.exists()


# ---- the parent-death signal ----------------------------------------------------------------------------------------

def test_a_child_started_in_a_thread_lives_as_long_as_the_thread_waits_for_it(tmp_path):
    """The kernel counts the starting thread's end as the parent's; `optimum_cli` may be called in any thread."""
    codes = []

    def run():
        with process.Child([sys.executable, "-S", "-c", "import time; time.sleep(0.3)"], dict(os.environ)) as child:
            codes.append(child.wait())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert codes == [0]


def test_a_signal_of_a_parent_that_is_gone_already_starts_nothing(tmp_path):
    mark = tmp_path / "started"
    command = process.with_parent_death_signal([sys.executable, "-S", "-c", f"open({str(mark)!r}, 'w')"])
    command[4] = "1"  # no process of ours
    pid = os.spawnv(os.P_NOWAIT, command[0], command)
    os.waitpid(pid, 0)
    assert not mark.exists()
