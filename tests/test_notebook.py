"""The tutorial as it is committed, and as it runs with a model for photographs, without helpers, or without packages.

Its cells with the practice model are run by nbval (`make test`), which compares the outputs of the cells tagged
`nbval-check-output`: those that say the same on every machine. What became of the original tutorial is test_seed.py's
subject.
"""

import itertools
import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook, new_output

from catalog.manifest import MANIFEST
from tasks import refresh_notebook, run_notebook
from tests.loopback import refusing_proxy

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "qwen2-vl.ipynb"
HELPERS = ("adapters", "benchmarks/results", "catalog", "chat_page", "chat_session.py", "cmd_helper.py", "environment",
           "export", "figures", "gradio_helper.py", "notebook_utils.py", "requirements.txt", "serving", "session",
           "tiny_model")


def read_cells(kind: str) -> list:
    return [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == kind]


def cell(name: str):
    """The code cell with this id."""
    return next(cell for cell in read_cells("code") if cell.id == name)


def printed(cell) -> str:
    return "".join(output.text for output in cell.outputs if output.get("name") == "stdout")


# ---- as committed ---------------------------------------------------------------------------------------------------

def test_title_says_what_it_costs_in_under_a_hundred_words():
    title = read_cells("markdown")[0].source
    assert len(title.split()) < 100
    assert all(word in title for word in ("disk", "memory", "minutes"))


def test_folds_have_no_empty_line_at_which_nbconvert_would_unfold_them():
    folds = [cell.source for cell in read_cells("markdown") if "<details>" in cell.source]
    assert folds
    for source in folds:
        assert "\n\n" not in source.partition("<details>")[2].partition("</details>")[0]


def test_cells_were_run_once_in_order():
    counts = [cell.execution_count for cell in read_cells("code")]
    assert counts == list(range(1, len(counts) + 1))


def test_each_code_cell_has_prose_before_it_and_is_short():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    for before, code in itertools.pairwise(cells):
        if code.cell_type == "code":
            assert before.cell_type == "markdown", f"no prose before the cell {code.id}"
            assert len(code.source.splitlines()) <= 18, f"the cell {code.id} is long"


def test_tutorial_is_read_and_run_in_ten_minutes():
    words = sum(len(cell.source.split()) for cell in read_cells("markdown"))
    assert words <= 1300
    assert len(read_cells("code")) <= 16


def test_chat_launches_by_the_tenth_code_cell_without_blocking_or_sharing():
    sources = [cell.source for cell in read_cells("code")]
    [launch] = [number for number, source in enumerate(sources, 1) if ".launch(" in source]
    assert launch <= 10
    assert "prevent_thread_lock=True, share=False" in sources[launch - 1]
    assert "share=True" not in NOTEBOOK.read_text(encoding="utf-8")
    assert "client.chat.completions.create(" in sources[launch]


def test_outputs_are_kept_and_clean():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert refresh_notebook.unfit(notebook) == []
    text = json.dumps([cell.outputs for cell in read_cells("code")])
    assert not re.search(r"/home/|/root/|/Users/|[A-Z]:\\\\Users|Warning|Traceback", text)
    assert {cell.id for cell in read_cells("code") if not cell.outputs} == {"load"}


def test_links_within_the_notebook_lead_to_headings():
    prose = "\n".join(cell.source for cell in read_cells("markdown"))
    headings = {title.replace(" ", "-") for title in re.findall(r"^#+ (.+)$", prose, re.M)}
    links = re.findall(r"\]\(#([^)]+)\)", prose)
    assert len(links) > 6
    assert [link for link in links if link not in headings] == []


def test_no_cell_waits_for_a_person():
    code = "\n".join(cell.source for cell in read_cells("code"))
    assert not re.search(r"\binput\(|getpass|notebook_login", code)


# ---- its first cell -------------------------------------------------------------------------------------------------

def test_lone_notebook_says_what_to_clone(tmp_path):
    with pytest.raises(CellExecutionError) as stopped:
        NotebookClient(new_notebook(cells=[cell("install")]), resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (stopped.value.ename, "clone the whole repository" in stopped.value.evalue) == ("SystemExit", True)
    assert "\n" not in stopped.value.evalue


@pytest.fixture
def run_first_cell(monkeypatch):
    """run_first_cell(missing) -> what %pip was called with, when `missing` pins are not met."""
    monkeypatch.chdir(ROOT)
    cpu_build = "environment.torch_build.cpu_build"
    monkeypatch.setattr(cpu_build, lambda requirements, python: ["--extra-index-url", "somewhere"])
    code = TransformerManager().transform_cell(cell("install").source)

    class Shell:
        def __init__(self):
            self.calls = []

        def run_line_magic(self, name, line):
            self.calls.append((name, line))

    def run(missing: list[str]):
        monkeypatch.setattr("environment.pins.missing_pins", lambda: missing)
        shell = Shell()
        exec(code, {"get_ipython": lambda: shell})
        return shell.calls

    return run


def test_nothing_is_installed_where_everything_is_there(run_first_cell):
    assert run_first_cell([]) == []


def test_missing_packages_are_installed_as_pinned(run_first_cell, capsys):
    [(magic, line)] = run_first_cell(["gradio==6.31.0"])
    assert (magic, line.startswith("install -q -r requirements.txt ")) == ("pip", True)
    assert "gradio==6.31.0" in capsys.readouterr().out


def test_missing_pins_names_what_is_absent_or_of_another_version(tmp_path):
    from environment.pins import missing_pins

    pins = tmp_path / "requirements.txt"
    pins.write_text("# why\n\npytest==0.1  # too old\nno-such-package==1.0\n", encoding="utf-8")
    assert missing_pins(pins) == ["pytest==0.1", "no-such-package==1.0"]
    assert missing_pins() == []


# ---- with another model ---------------------------------------------------------------------------------------------

@pytest.fixture
def clone(tmp_path) -> Path:
    """A copy of what the notebook needs beside it, so that its `models/` and `build/` are apart from ours."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in HELPERS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    return folder


def pretend_export(int4_dir: Path, folder: Path) -> None:
    """Our export, without saying that it is the practice model's, so that the notebook takes it for a real one."""
    shutil.copytree(int4_dir, folder, ignore=shutil.ignore_patterns(MANIFEST))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["practice_model"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def test_choice_in_the_dropdown_is_all_that_a_real_model_needs_behind_a_proxy_too(clone, int4_dir, monkeypatch):
    pretend_export(int4_dir, clone / "models" / "Qwen2-VL-2B-Instruct" / "INT4")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = [cell.id for cell in notebook.cells].index("choose")
    click = new_code_cell('model_id.label = "Qwen/Qwen2-VL-2B-Instruct"  # what a click does')
    again = new_code_cell(cell("choose").source)  # Run All, after the click
    notebook.cells[place + 1 : place + 1] = [click, again]

    with monkeypatch.context() as during, refusing_proxy(during) as asked:
        run_notebook.execute(notebook, clone)

    cells = {cell.id: cell for cell in notebook.cells}
    assert printed(cells["export"]) == "Qwen/Qwen2-VL-2B-Instruct: models/Qwen2-VL-2B-Instruct/INT4\n"  # it was there
    assert "size=451x300" in json.dumps(cells["picture"].outputs)  # the bundled one: there is no network here
    assert run_notebook.first_answer(notebook).partition("Answer:")[2].strip()
    assert printed(cells["ask-api"]).strip()
    assert asked  # for the photograph, and for nothing of this machine's
    assert {address for address, _ in asked} == {"qianwen-res.oss-cn-beijing.aliyuncs.com:443"}


def test_own_folder_becomes_the_choice(tmp_path, clone, int4_dir):
    choose = cell("choose")
    mine = tmp_path / "my own model"
    pretend_export(int4_dir, mine)
    choose.source = choose.source.replace('model_name = ""', f"model_name = {str(mine)!r}")
    show = new_code_cell("print(model_id.value.label, model_id.value.load_from, sep=': ')")
    notebook = new_notebook(cells=[choose, show])
    run_notebook.execute(notebook, clone)
    assert printed(show) == f"My own folder: my own model: {mine}\n"


# ---- what refreshing leaves out -------------------------------------------------------------------------------------

def notebook_showing(*outputs):
    return new_notebook(cells=[new_code_cell("pass", execution_count=1, outputs=list(outputs),
                                             metadata={"execution": {"shell.execute_reply": "a time"}})])


def shown(**data):
    """One output; `text_html="…"` for what has the type text/html."""
    return new_output("display_data", data={kind.replace("_", "/"): text for kind, text in data.items()})


def test_tidy_drops_what_dies_with_the_kernel_and_keeps_the_rest():
    dropdown = shown(text_plain="Dropdown()")
    dropdown.data[refresh_notebook.WIDGET] = {"model_id": "a1"}
    page = shown(text_html='<div><iframe src="http://127.0.0.1:7860/"></iframe></div>')
    bar = shown(text_plain="Loading weights:   0%|          | 0/117 [00:00<?, ?it/s]")
    progress = shown(text_plain="Applying Weight Compression ━━━ 100% • 0:00:02")
    notebook = notebook_showing(dropdown, page, bar, progress)

    refresh_notebook.tidy(notebook)

    assert [output.data for output in notebook.cells[0].outputs] == [{"text/plain": "Dropdown()"}, progress.data]
    assert notebook.cells[0].metadata == {}


@pytest.mark.parametrize("output, complaint", [
    (new_output("stream", name="stderr", text="UserWarning: no"), "cell 1 warns: UserWarning: no"),
    (new_output("stream", name="stdout", text=f"saved to {ROOT}/models"), f"cell 1 shows the path {ROOT}"),
    (new_output("stream", name="stdout", text="x" * 300_000), "more than 300,000"),
])
def test_unfit_outputs_are_not_written(output, complaint):
    [found] = refresh_notebook.unfit(notebook_showing(output))
    assert complaint in found
