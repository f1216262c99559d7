"""`cmd_helper.optimum_cli`: real exports at every precision, and a stand-in exporter for what a real one does rarely.

The real exports are those of `conftest.py`. The stand-in is a few lines of Python run as a child process in place of
`optimum-cli`, with the same arguments; `OUT` is the folder that it was told to write.
"""

import json
import math
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock
from nbclient import NotebookClient

import cmd_helper
import environment.versions
import export.process
import export.run
from catalog.manifest import MANIFEST
from catalog.model_folder import require_model_dir
from cmd_helper import ExportError, optimum_cli
from environment.versions import VersionError
from export.progress import NotebookDisplay, TextDisplay
from export.staging import flush

ROOT = Path(__file__).resolve().parent.parent
STAND_IN = "import os, signal, sys, time; from pathlib import Path; OUT = Path(sys.argv[5])\n"
WRITE_A_MODEL = "OUT.mkdir(); (OUT / 'openvino_language_model.xml').write_text('<net></net>')\n"
WEIGHT_TYPES = {"fp32": "f32", "fp16": "f16", "int8": "u8", "int4": "u4"}  # as OpenVINO's graphs name them
COMPRESSED = ("int8", "int4")
TABLE_TITLE = "INFO:nncf:Statistics of the bitwidth distribution:"


@pytest.fixture
def exporter(monkeypatch):
    """exporter(code): from now on `optimum_cli` runs `code` instead of the real exporter."""
    def replace(code: str) -> None:
        monkeypatch.setattr(export.run, "exporter_argv",
                            lambda command: [sys.executable, "-c", STAND_IN + code, *command[1:]])
    return replace


# ---- real exports ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("weight_format", WEIGHT_TYPES)
def test_every_weight_format_gives_a_model_that_generates(exported, weight_format):
    from optimum.intel.openvino import OVModelForVisualCausalLM
    from transformers import AutoTokenizer

    folder = require_model_dir(exported(weight_format).model_dir)
    prompt = AutoTokenizer.from_pretrained(folder)("What colour is the circle?", return_tensors="pt")
    model = OVModelForVisualCausalLM.from_pretrained(str(folder), device="CPU")
    answer = model.generate(**prompt, min_new_tokens=3, max_new_tokens=3)
    assert answer.shape == (1, prompt["input_ids"].shape[1] + 3)


@pytest.mark.parametrize("weight_format", WEIGHT_TYPES)
def test_weights_are_stored_in_the_format_asked_for(exported, weight_format):
    import openvino

    graph = openvino.Core().read_model(exported(weight_format).model_dir / "openvino_language_model.xml")
    numbers = Counter()
    for node in graph.get_ops():
        if node.get_type_name() == "Constant":
            numbers[node.get_element_type().get_type_name()] += math.prod(node.get_output_shape(0))
    assert numbers.most_common(1)[0][0] == WEIGHT_TYPES[weight_format], numbers


@pytest.mark.parametrize("weight_format", WEIGHT_TYPES)
def test_the_screen_shows_the_command_and_what_it_made(exported, weight_format):
    export = exported(weight_format)
    source = export.model_dir.parent.parent / "a model"
    shown = export.screen.splitlines()
    assert shown[:2] == ["Export command:",
                         f"optimum-cli export openvino --model '{source}' '{export.model_dir}' "
                         f"--task image-text-to-text --weight-format {weight_format}"]
    assert shown[-1].startswith(f"Exported to {export.model_dir}: ")


@pytest.mark.parametrize("weight_format", COMPRESSED)
def test_bit_width_tables_and_progress_are_shown(exported, weight_format):
    shown = exported(weight_format).screen.splitlines()
    tables = [number for number, line in enumerate(shown) if line == TABLE_TITLE]
    assert len(tables) == 4, "one per sub-model"
    for start in tables:
        assert shown[start + 1].startswith("┍")
    assert sum(line.startswith("Applying Weight Compression") and "100%" in line for line in shown) == 4
    assert any(f"{weight_format}_asym" in line for line in shown)


@pytest.mark.parametrize("weight_format", WEIGHT_TYPES)
def test_library_noise_is_in_the_log_and_not_on_the_screen(exported, weight_format):
    export = exported(weight_format)
    assert "TracerWarning" in export.log
    assert "Warning" not in export.screen
    assert "\x1b" not in export.screen + export.log


@pytest.mark.parametrize("weight_format", WEIGHT_TYPES)
def test_an_export_sends_nothing_with_ci_unset(exported, weight_format):
    """`exported` unsets CI and every opt-out for the call, and puts the child behind the socket guard."""
    assert exported(weight_format).connections == ""


def test_paths_with_spaces_leave_only_the_model_and_its_log(exported):
    folder = exported("int4").model_dir
    assert " " in str(folder.parent) and " " in folder.parent.name
    assert {path.name for path in folder.parent.iterdir()} - {".INT4.lock"} == {"INT4", "INT4.log"}


def test_what_appears_is_on_the_disk_already(tmp_path, monkeypatch):
    """Every file of the folder was flushed, those in folders too."""
    (tmp_path / "tokenizer").mkdir()
    for name in ("a.bin", "tokenizer/b.json"):
        (tmp_path / name).write_bytes(b"x")
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    flush(tmp_path)
    assert flushed == [(tmp_path / name).stat().st_ino for name in ("a.bin", "tokenizer/b.json")]


def test_an_option_that_the_exporter_refuses_is_reported_in_its_words(tiny_dir, tmp_path):
    with pytest.raises(ExportError) as caught:
        optimum_cli(tiny_dir, tmp_path / "INT3", show_command=False, additional_args={"weight-format": "int3"})
    assert caught.value.returncode == 2
    assert "invalid choice: 'int3'" in caught.value.tail
    assert "What to do: correct additional_args" in str(caught.value)
    assert not (tmp_path / "INT3").exists()


# ---- the command ----------------------------------------------------------------------------------------------------

def arguments(folder: Path) -> list[str]:
    """What the stand-in was called with, that has written a model with its arguments in it."""
    return json.loads((folder / "argv.json").read_text())


WRITE_ARGUMENTS = WRITE_A_MODEL + "import json; (OUT / 'argv.json').write_text(json.dumps(sys.argv[1:]))"


def test_arguments_reach_the_exporter_as_they_were_given(exporter, tmp_path):
    exporter(WRITE_ARGUMENTS)
    optimum_cli("owner/name", tmp_path / "out", additional_args={
        "weight-format": "int4", "ratio": 0.8, "trust-remote-code": None, "sym": True, "dataset": "two words"})
    passed = arguments(tmp_path / "out")
    assert passed[:4] == ["export", "openvino", "--model", "owner/name"]
    assert passed[5:] == ["--weight-format", "int4", "--ratio", "0.8", "--trust-remote-code", "--sym",
                          "--dataset", "two words"]


def test_flags_may_be_written_as_notebooks_write_them(exporter, tmp_path):
    exporter(WRITE_ARGUMENTS)
    flags = {"sym": "", "awq": None, "all-layers": True, "trust-remote-code": False, "group-size": 0}
    optimum_cli("owner/name", tmp_path / "out", additional_args=flags)
    assert arguments(tmp_path / "out")[5:] == ["--sym", "--awq", "--all-layers", "--group-size", "0"]


def test_the_task_is_left_to_the_hub_for_a_name_and_to_the_caller_who_gives_one(exporter, tmp_path):
    exporter(WRITE_ARGUMENTS)
    (tmp_path / "source").mkdir()
    for number, (source, options, passed) in enumerate([
            ("owner/name", {}, []), (tmp_path / "source", {}, ["--task", "image-text-to-text"]),
            (tmp_path / "source", {"task": "other"}, ["--task", "other"])]):
        optimum_cli(source, tmp_path / f"out {number}", additional_args=options)
        assert arguments(tmp_path / f"out {number}")[3::2][:1] == [str(source)]
        assert arguments(tmp_path / f"out {number}")[5:] == passed


# ---- the name of a model of the hub ---------------------------------------------------------------------------------

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(tmp_path, monkeypatch) -> Path:
    """The folder of owner/name in a cache of the hub's, in somebody's home."""
    repository = tmp_path / "home of annabell" / "hub" / "models--owner--name"
    folder = repository / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(repository.parent))
    return folder


def test_a_folder_in_the_hubs_cache_is_shown_and_recorded_by_its_name(exporter, cached, tmp_path, capsys):
    exporter(WRITE_ARGUMENTS)
    out = tmp_path / "out"
    optimum_cli(cached, out, additional_args={"weight-format": "int4"})
    shown = capsys.readouterr().out
    assert f"optimum-cli export openvino --model owner/name {out} --task image-text-to-text" in shown
    assert "annabell" not in shown
    manifest = (out / MANIFEST).read_text()
    assert (json.loads(manifest)["source"], json.loads(manifest)["revision"]) == ("owner/name", COMMIT)
    assert "annabell" not in manifest
    assert arguments(out)[3] == str(cached), "the exporter is given the folder all the same"


def test_an_error_names_a_folder_in_the_hubs_cache_by_its_name(exporter, cached, tmp_path):
    exporter("sys.exit(3)")
    with pytest.raises(ExportError) as caught:
        optimum_cli(cached, tmp_path / "out")
    assert caught.value.command[:5] == ["optimum-cli", "export", "openvino", "--model", "owner/name"]
    assert "annabell" not in str(caught.value).partition("Log: ")[0]
    (cached / "model.safetensors").write_bytes(b"half")
    with pytest.raises(ExportError, match="owner/name is not a whole model") as caught:
        optimum_cli(cached, tmp_path / "out")
    assert "annabell" not in str(caught.value)


def test_the_revision_of_a_name_is_that_of_what_the_exporter_downloaded(exporter, cached, tmp_path):
    exporter(WRITE_ARGUMENTS)
    for name, revision in {"owner/name": COMMIT, "owner/elsewhere": None}.items():
        out = tmp_path / name.replace("/", " ")
        optimum_cli(name, out)
        manifest = json.loads((out / MANIFEST).read_text())
        assert (manifest["source"], manifest["revision"]) == (name, revision)


def test_a_folder_of_ones_own_has_no_revision(exporter, tmp_path):
    exporter(WRITE_ARGUMENTS)
    (tmp_path / "mine").mkdir()
    optimum_cli(tmp_path / "mine", tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert (manifest["source"], manifest["revision"]) == ("mine", None)


# ---- what is shown --------------------------------------------------------------------------------------------------

def test_the_command_can_be_kept_from_the_screen(exporter, tmp_path, capsys):
    exporter(WRITE_A_MODEL)
    optimum_cli("owner/name", tmp_path / "out", show_command=False)
    assert "optimum-cli" not in capsys.readouterr().out


# ---- output while it runs -------------------------------------------------------------------------------------------

TALKATIVE = """
def say(text, end="\\n"):
    print(text, end=end, flush=True)
say("library.py:3: TracerWarning: never mind")
say("INFO:nncf:Statistics of the bitwidth distribution:")
for percent in (10, 55, 100):
    say(f"\\r\\x1b[2KApplying Weight Compression ━━━━ {percent}% • 0:00:01", end="")
say("")
""" + WRITE_A_MODEL


def test_only_what_matters_is_shown(exporter, tmp_path, capsys):
    exporter(TALKATIVE)
    optimum_cli("owner/name", tmp_path / "out", show_command=False)
    assert capsys.readouterr().out.splitlines()[:-1] == [
        TABLE_TITLE, "Applying Weight Compression ━━━━ 100% • 0:00:01"]


def test_debug_logs_shows_the_rest(exporter, tmp_path, capsys):
    exporter(TALKATIVE)
    optimum_cli("owner/name", tmp_path / "out", show_command=False, debug_logs=True)
    assert capsys.readouterr().out.splitlines()[0] == "library.py:3: TracerWarning: never mind"


def test_output_is_shown_while_the_exporter_still_runs(exporter, tmp_path, monkeypatch):
    """The stand-in waits for a file that appears only when its table has been shown."""
    seen = tmp_path / "seen"
    exporter(f"print('┍━━━┑', flush=True)\nwhile not Path({str(seen)!r}).exists(): time.sleep(0.05)\n" + WRITE_A_MODEL)
    monkeypatch.setattr(cmd_helper, "make_display", lambda: RecordingDisplay(on_line=lambda _: seen.touch()))
    optimum_cli("owner/name", tmp_path / "out", show_command=False)
    assert (tmp_path / "out").is_dir()


def test_a_silent_exporter_shows_how_long_it_has_been_running(exporter, tmp_path, monkeypatch):
    display = RecordingDisplay()
    monkeypatch.setattr(cmd_helper, "make_display", lambda: display)
    monkeypatch.setattr(export.run, "TICK_S", 0.05)
    exporter("time.sleep(1)\n" + WRITE_A_MODEL)
    optimum_cli("owner/name", tmp_path / "out", show_command=False)
    assert "Exporting, 0 min 00 s so far" in display.shown


def test_in_a_notebook_the_command_is_markdown_and_progress_is_one_output(tmp_path):
    setup = (f"import sys; sys.path.insert(0, {str(ROOT)!r}); import cmd_helper, export.run\n"
             f"export.run.exporter_argv = lambda c: [sys.executable, '-c', {STAND_IN + TALKATIVE!r}, *c[1:]]\n"
             f"cmd_helper.optimum_cli('owner/name', {str(tmp_path / 'out')!r})")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(setup)])
    NotebookClient(book, kernel_name="python3").execute()
    outputs = book.cells[0].outputs
    assert outputs[0].data["text/markdown"].startswith("**Export command:**\n\n`optimum-cli export openvino ")
    bars = [out.data["text/plain"] for out in outputs[1:] if out.output_type == "display_data" and "%" in str(out.data)]
    assert bars == ["Applying Weight Compression ━━━━ 100% • 0:00:01"]
    assert any(out.get("text") == f"{TABLE_TITLE}\n" for out in outputs)


def as_seen(raw: str) -> list[str]:
    """What a terminal shows of `raw`: a carriage return goes back to the start of the line, and text overwrites."""
    lines = []
    for line in raw.split("\n"):
        cells = ""
        for part in line.split("\r"):
            cells = part + cells[len(part):]
        lines.append(cells.rstrip())
    return lines


def test_a_terminal_rewrites_its_last_line(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    display = TextDisplay()
    display.status("Exporting, 0 min 09 s so far")
    display.progress("Loading 50%")
    assert as_seen(capsys.readouterr().out) == ["Loading 50%"]
    display.status("not shown over progress that is under way")
    display.progress("Loading 100%")
    display.status("Exporting, 0 min 20 s so far")
    display.line("a table")
    display.progress("Applying 10%")
    display.close("Exported")
    assert as_seen(capsys.readouterr().out) == ["Loading 100%", "a table", "Applying 10%", "Exported", ""]


def test_notebook_folds_what_few_want_into_one_output(monkeypatch):
    shown = []

    class Handle:
        def update(self, data, raw):
            shown[0] = data

    monkeypatch.setattr("IPython.display.display", lambda data, raw, display_id: shown.append(data) or Handle())
    display = NotebookDisplay()
    display.folded("│ <a>")
    display.folded("│ b")
    assert shown[0]["text/plain"] == "│ <a>\n│ b"
    assert shown[0]["text/html"].startswith("<details><summary>") and "│ &lt;a&gt;\n│ b</pre>" in shown[0]["text/html"]


class RecordingDisplay:
    """Keeps everything shown, in order."""

    def __init__(self, on_line=lambda text: None):
        self.shown, self.on_line = [], on_line

    def line(self, text):
        self.shown.append(text)
        self.on_line(text)

    def status(self, text):
        self.shown.append(text)

    folded = line
    progress = close = status


# ---- whole or not at all --------------------------------------------------------------------------------------------

def test_the_folder_appears_only_when_the_model_is_complete(exporter, tmp_path, monkeypatch):
    exporter(WRITE_A_MODEL + "print('┍━━━┑', flush=True); time.sleep(0.2)")
    seen = []
    display = RecordingDisplay(on_line=lambda _: seen.append((tmp_path / "out").exists()))
    monkeypatch.setattr(cmd_helper, "make_display", lambda: display)
    optimum_cli("owner/name", tmp_path / "out", show_command=False)
    assert seen == [False]
    assert (tmp_path / "out" / "openvino_language_model.xml").exists()


def test_a_failed_export_leaves_its_log_and_nothing_else(exporter, tmp_path):
    exporter(WRITE_A_MODEL + "print('why it failed'); sys.exit(3)")
    with pytest.raises(ExportError) as caught:
        optimum_cli("owner/name", tmp_path / "out", additional_args={"weight-format": "int4"})
    error = caught.value
    assert error.command == ["optimum-cli", "export", "openvino", "--model", "owner/name", str(tmp_path / "out"),
                             "--weight-format", "int4"]
    assert (error.returncode, error.tail) == (3, "why it failed")
    assert {path.name for path in tmp_path.iterdir()} - {".out.lock"} == {"out.log"}
    assert (tmp_path / "out.log").read_text() == "why it failed\n"


def test_what_an_interrupted_export_left_is_cleared_by_the_next(exporter, tmp_path):
    left = tmp_path / ".out.partial" / "model"
    left.mkdir(parents=True)
    (left / "openvino_language_model.bin").write_bytes(b"half")
    exporter(WRITE_A_MODEL)
    optimum_cli("owner/name", tmp_path / "out")
    assert not left.parent.exists()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"openvino_language_model.xml", MANIFEST}


def test_the_exporters_temporary_files_are_ours_to_clear(exporter, tmp_path):
    """The exporter keeps gigabytes in the temporary folder; killed, it would leave them in the system's."""
    exporter("import tempfile; Path(tempfile.mkdtemp(), 'big').touch(); print('┍', tempfile.gettempdir());"
             "os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(ExportError, match="lack of memory") as caught:
        optimum_cli("owner/name", tmp_path / "out")
    assert caught.value.returncode == -signal.SIGKILL
    temporary = (tmp_path / "out.log").read_text().split()[1]
    assert temporary.startswith(str(tmp_path)) and not Path(temporary).exists()


def test_an_existing_model_is_not_overwritten(exporter, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    exporter(WRITE_A_MODEL)
    with pytest.raises(ExportError, match="exists already: delete it, or choose another folder"):
        optimum_cli("owner/name", tmp_path / "out")
    assert (tmp_path / "out" / "mine").exists()


def test_an_empty_folder_is_filled(exporter, tmp_path):
    (tmp_path / "out").mkdir()
    exporter(WRITE_A_MODEL)
    optimum_cli("owner/name", tmp_path / "out")
    assert (tmp_path / "out" / "openvino_language_model.xml").exists()


def test_success_without_a_model_is_a_failure(exporter, tmp_path):
    exporter("pass")
    with pytest.raises(ExportError, match="reported success but wrote no model"):
        optimum_cli("owner/name", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_second_process_waits_and_takes_what_the_first_made(exporter, tmp_path, monkeypatch):
    exporter("sys.exit('must not run')")
    waiting = threading.Event()
    monkeypatch.setattr(cmd_helper, "make_display", lambda: RecordingDisplay(on_line=lambda _: waiting.set()))
    failures = []

    def second():
        try:
            optimum_cli("owner/name", tmp_path / "out", show_command=False)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=second)
    with FileLock(tmp_path / ".out.lock"):
        thread.start()
        assert waiting.wait(30)
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "made by the first").touch()
    thread.join(30)
    assert not thread.is_alive() and failures == []


# ---- Ctrl-C ---------------------------------------------------------------------------------------------------------

INTERRUPT_PARENT = ("Path(os.environ['PID_FILE']).write_text(str(os.getpid())); os.kill(os.getppid(), signal.SIGINT)\n"
                    "time.sleep(60)")


@pytest.mark.parametrize("manners", ["", "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"], ids=["polite", "stubborn"])
def test_ctrl_c_ends_the_child_and_clears_up(exporter, tmp_path, monkeypatch, capsys, manners):
    monkeypatch.setenv("PID_FILE", str(tmp_path / "pid"))
    monkeypatch.setattr(export.process, "GRACE_S", 1.0)
    exporter(manners + WRITE_A_MODEL + INTERRUPT_PARENT)
    with pytest.raises(KeyboardInterrupt):
        optimum_cli("owner/name", tmp_path / "out")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert {path.name for path in tmp_path.iterdir()} - {".out.lock"} == {"pid", "out.log"}
    assert capsys.readouterr().out.splitlines()[-1].startswith("The export stopped after ")


# ---- refused before it starts, and explained afterwards -------------------------------------------------------------

@pytest.mark.parametrize(("name", "installed"), [("transformers", "5.5.0"), ("transformers", "4.56.2"),
                                                 ("optimum-intel", "2.3.0"), ("openvino", "2025.4.0"), ("nncf", None)])
def test_versions_outside_the_window_are_refused_by_name(exporter, tmp_path, monkeypatch, name, installed):
    real = environment.versions.version

    def version(package):
        if package != name:
            return real(package)
        if installed is None:
            raise environment.versions.PackageNotFoundError(package)
        return installed

    monkeypatch.setattr(environment.versions, "version", version)
    exporter("sys.exit('must not run')")
    with pytest.raises(VersionError) as caught:
        optimum_cli("owner/name", tmp_path / "out")
    assert f"{name} {installed or 'is not installed'}" in str(caught.value)
    assert "pip install -r requirements.txt" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model", ["./no/such/folder", "../folder", "a/b/c", "~/nowhere at all", ""])
def test_a_model_that_can_be_neither_a_folder_nor_a_name_is_refused(exporter, tmp_path, model):
    exporter("sys.exit('must not run')")
    with pytest.raises(ExportError, match="There is no folder") as caught:
        optimum_cli(model, tmp_path / "out")
    assert caught.value.returncode is None


def test_a_folder_that_cannot_be_written_is_an_export_error(exporter, tmp_path):
    (tmp_path / "file").touch()
    exporter(WRITE_A_MODEL)
    with pytest.raises(ExportError, match="did not start"):
        optimum_cli("owner/name", tmp_path / "file" / "out")


@pytest.mark.parametrize(("printed", "advice"), [
    ("OSError: [Errno 28] No space left on device", "free some disk space"),
    ("OSError: We couldn't connect to 'https://huggingface.co' to load the files", "the hub cannot be reached"),
    ("httpx.ConnectError: [Errno -2] Name or service not known", "the hub cannot be reached"),
    ("safetensors._safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, file not "
     "fully covered", "the model's files are incomplete"),
    ("RuntimeError: std::bad_alloc", "choose a smaller model"),
    ("RuntimeError: basic_ios::clear: iostream error", "the disk is probably full"),
    ("OSError: [Errno 27] File too large: 'x.bin'", "use another folder"),
    ("OSError: [Errno 30] Read-only file system: 'x'", "choose a folder that you may write to"),
    ("nncf.errors.InvalidGroupSizeError: Failed to apply group-wise quantization", '"weight-format": "int8"'),
])
def test_a_failure_says_what_to_do(exporter, tmp_path, printed, advice):
    exporter(f"print({'Traceback (most recent call last):'!r}); print('  File \"x.py\", line 1, in <module>');"
             f"print({printed!r}); print('W1123 UserWarning: by the way'); sys.exit(1)")
    with pytest.raises(ExportError) as caught:
        optimum_cli("owner/name", tmp_path / "out")
    assert caught.value.tail == printed
    assert advice in str(caught.value)
    assert str(tmp_path / "out.log") in str(caught.value)
