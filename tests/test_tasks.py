"""What is typed once `.venv` is there: make's targets, .ci/run, tasks.run_notebook and tasks.demo."""

import re
import shutil
import socket
import subprocess
import sys
import urllib.request

import nbformat
import pytest

from tasks import demo, run_notebook
from tests.clones import ROOT, make_clone, run, script
from tests.loopback import PROXIES


@pytest.fixture
def clone(tmp_path):
    return make_clone(tmp_path)


# ---- make and CI -----------------------------------------------------------------------------------------------------

def test_make_demo_passes_on_what_was_typed_and_nothing_else(clone):
    script(clone / ".venv/bin/python", 'for word; do echo "<$word>"; done')
    typed = ["make", "-s", "demo", "PYTHON=true", "MODEL=my models/it's here", "PORT=7861"]
    shown = run(typed, clone, HOST="a-name-from-the-shell", DEVICE="NPU")
    options = ["<--model>", "<my models/it's here>", "<--port>", "<7861>"]
    assert shown.stdout.splitlines() == ["<-m>", "<tasks.demo>", *options]


def test_make_clean_keeps_what_took_long_to_make(clone):
    kept = [clone / name for name in (".venv/__pycache__", "models/a", "build/train", "tasks")]
    gone = [clone / name for name in ("build/test-exports", "tasks/__pycache__", ".pytest_cache")]
    for folder in kept + gone:
        folder.mkdir(parents=True, exist_ok=True)
    assert run(["make", "clean"], clone).returncode == 0
    assert all(folder.exists() for folder in kept)
    assert not any(folder.exists() for folder in gone)


def test_make_help_lists_every_target(clone):
    targets = set(re.findall(r"^([a-z-]+):", (clone / "Makefile").read_text(), flags=re.M))
    shown = run(["make", "help"], clone).stdout
    assert targets == set(re.findall(r"^make ([a-z-]+)", shown, flags=re.M))


@pytest.fixture
def ci(clone):
    """ci(**fakes): runs .ci/run with stand-ins for make, apt-get, ...; returns it and the commands that were called."""
    log = clone / "called"

    def start(**fakes):
        tools = clone / "bin"
        for name in ("bash", "sh", "dirname", "env"):
            tools.mkdir(exist_ok=True)
            (tools / name).symlink_to(shutil.which(name))
        for name, body in fakes.items():
            name = name.replace("_", "-")
            script(tools / name, f'[ {name} = id ] || echo {name} "$@" "$REQUIRE_BROWSER" >> "{log}"\n{body}')
        done = run([str(clone / ".ci/run")], clone.parent, PATH=str(tools), REQUIRE_BROWSER="")
        return done.returncode, [line.strip() for line in log.read_text().splitlines()]

    return start


def test_ci_runs_the_style_check_and_the_test_commands_with_the_browser_required(ci):
    assert ci(chromium="", make="") == (0, ["make lint 1", "make test 1", "make test-slow 1", "make test-serve 1",
                                             "make test-clients 1"])


@pytest.mark.parametrize("user, prefix", [(0, "apt-get"), (1000, "sudo apt-get")])
def test_ci_installs_a_browser_where_there_is_none(ci, user, prefix):
    _, called = ci(make="", id=f"echo {user}", sudo='"$@"', apt_get="")
    assert called[0] == f"{prefix} update -qq"
    assert any("install" in line and "chromium" in line for line in called[1:-3])


@pytest.mark.parametrize("failing", ["lint", "test", "test-serve"])
def test_ci_fails_when_a_step_fails(ci, failing):
    code, called = ci(chromium="", make=f'[ "$1" != {failing} ] || exit 2')
    assert code == 2
    assert called[-1] == f"make {failing} 1"


# ---- running the notebook --------------------------------------------------------------------------------------------

ANSWERING = 'print("Question:\\nWhat is it?\\nAnswer:")\nprint("A red ", end="", flush=True)\nprint("circle.")'


@pytest.fixture
def notebook(tmp_path):
    """notebook(*cells): the path of a notebook with these code cells, each with an output of an earlier run."""
    def write(*cells):
        old = nbformat.v4.new_output("stream", text="from an earlier run")
        code = [nbformat.v4.new_code_cell(source, outputs=[old]) for source in cells]
        content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A title\n\n## The start"), *code],
                                           metadata={"kernelspec": {"name": "gone", "display_name": "Gone"}})
        folder = tmp_path / "my notebooks"
        folder.mkdir()
        nbformat.write(content, folder / "a notebook.ipynb")
        return folder / "a notebook.ipynb"
    return write


def test_notebook_runs_in_this_very_python_and_ends_with_its_answer(notebook, tmp_path, monkeypatch, capsys):
    script(tmp_path / "data/kernels/python3/kernel.json", "")  # a broken kernel of the reader's own
    for name in ("JUPYTER_PATH", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "data"))
    script(tmp_path / "ipython/profile_default/startup/first.py", "raise SystemExit")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("CI", raising=False)
    source = notebook("import sys, os\nprint(sys.executable, os.getcwd())", ANSWERING)
    before = source.read_bytes()

    assert run_notebook.main(source, tmp_path / "build") == 0

    build = tmp_path / "build"
    assert capsys.readouterr().out.splitlines() == [
        "[ 1/2] The start", "[ 2/2] The start", "",
        "Question:", "What is it?", "Answer:", "A red circle.", "",
        f"Executed notebook: {build / 'qwen2-vl.ipynb'}", f"The same as HTML:  {build / 'qwen2-vl.html'}",
        run_notebook.next_steps(),
    ]
    assert source.read_bytes() == before
    executed = nbformat.read(build / "qwen2-vl.ipynb", as_version=4)
    assert executed.cells[1].outputs[0].text == f"{sys.executable} {source.parent}\n"
    assert "A red circle." in (build / "qwen2-vl.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("cell, problem", [
    ("raise ValueError('no such colour')", "cell 2 failed: ValueError: no such colour"),
    ("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)", "Python was killed in the middle"),
    ("pass", "no cell printed"),
])
def test_run_that_ends_early_says_why_and_keeps_what_there_is(notebook, tmp_path, cell, problem, capsys):
    assert run_notebook.main(notebook("print(1)", cell, "2"), tmp_path) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"\nrun: {problem}") and f"Executed notebook: {tmp_path / 'qwen2-vl.ipynb'}" in shown
    executed = (tmp_path / "qwen2-vl.ipynb").read_text(encoding="utf-8")
    assert "from an earlier run" not in executed
    assert nbformat.reads(executed, as_version=4).cells[1].outputs[0].text == "1\n"


def test_unwritable_build_folder_is_said_before_the_run(notebook, tmp_path, capsys):
    (tmp_path / "build").write_text("")
    assert run_notebook.main(notebook(ANSWERING), tmp_path / "build") == 1
    assert f"cannot write to {tmp_path / 'build'} (File exists)" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["run_notebook", "demo"])
def test_task_in_a_python_without_the_packages_says_what_to_type(task):
    done = subprocess.run([sys.executable, "-S", "-m", f"tasks.{task}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "python3 -m tasks.bootstrap" in line


# ---- the page without Jupyter ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("options, word", [
    (["--model", "no/such/folder"], "no/such/folder"),
    (["--model", str(ROOT / "docs")], str(ROOT / "docs")),
    (["--device", "TPU"], "TPU"),
])
def test_mistyped_option_is_named_in_one_line(options, word, capsys):
    assert demo.main(options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("demo: ") and word in line


def test_page_is_served_at_its_port_behind_a_companys_proxy_and_nothing_leaves_the_machine(int4_dir, bare_environment):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--model", str(int4_dir), "--device", "CPU", "--port", str(port)]
    command = [sys.executable, "-u", "-m", "tasks.demo", *options]
    proxy = dict.fromkeys(PROXIES, "http://127.0.0.1:9")  # nobody is there: whatever goes to it fails
    page = subprocess.Popen(command, cwd=ROOT, env=bare_environment.variables | proxy, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        shown = []
        for line in page.stdout:
            shown.append(line)
            if f"http://127.0.0.1:{port}" in line:
                break
        else:
            pytest.fail(f"no page: {''.join(shown)}")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}") as answer:
            assert "Qwen2-VL chat" in answer.read().decode()
    finally:
        page.terminate()
        page.wait()
        page.stdout.close()
    assert bare_environment.connections() == ""
