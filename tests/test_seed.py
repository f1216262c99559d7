"""The tutorial that this one rebuilds: its cells run against our helpers, and nothing of it is lost unnoticed.

The cells are kept unchanged in tests/data/seed_cells.py. They run in a folder in which the name on the hub that they
choose is a folder with the practice model, and demo.jpeg is a drawn scene; `%pip` is skipped, and the page made not to
block. tests/data/seed_table.md says where the notebook has each heading, link, call and claim.
"""

import functools
import re
import shutil
from pathlib import Path

import gradio
import nbformat
import pytest
from gradio_client import Client, handle_file

from tiny_model.scenes import Shape, draw

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "data"
NOTEBOOKS = ("qwen2-vl.ipynb", "docs/how-it-works.ipynb")
HELPERS = ("cmd_helper.py", "notebook_utils.py", "gradio_helper.py")  # the seed downloads those that it does not find


# ---- its cells, unchanged -------------------------------------------------------------------------------------------

def seed_cells() -> list[str]:
    return (DATA / "seed_cells.py").read_text(encoding="utf-8").split("\n# %%\n")[1:]


@pytest.fixture
def seed_folder(tmp_path, tiny_dir, monkeypatch) -> Path:
    """The current folder of the seed's cells, with everything they would download in place."""
    # conftest.py says that the tests are offline. This library then takes a folder for a name on the hub, because the
    # seed's device stands where `export` should. A reader is online; here the socket guard refuses the network.
    monkeypatch.setattr("optimum.intel.openvino.modeling_base.is_offline_mode", lambda: False)
    monkeypatch.chdir(tmp_path)
    for name in HELPERS:
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(tiny_dir, tmp_path / "Qwen" / "Qwen2-VL-2B-Instruct")
    draw([Shape("circle", "red", 0.3, 0.3, 0.2)], size=(280, 224)).save(tmp_path / "demo.jpeg")
    return tmp_path


@pytest.fixture
def launches(monkeypatch) -> list[dict]:
    """The settings of each page that is launched; pages do not block, and are closed at the end."""
    seen, pages, launch = [], [], gradio.Blocks.launch

    def launch_and_go_on(page, *args, **settings):
        seen.append(settings)
        pages.append(page)
        return launch(page, *args, **{**settings, "debug": False, "prevent_thread_lock": True, "quiet": True})

    monkeypatch.setattr(gradio.Blocks, "launch", launch_and_go_on)
    yield seen
    for page in pages:
        page.close()


def run_seed(shown: list) -> dict:
    """Runs the cells as a notebook would, all in one namespace, which it returns; what they display goes to `shown`."""
    namespace = {"__name__": "__main__", "display": shown.append}
    for number, cell in enumerate(seed_cells(), 1):
        if not cell.startswith("%pip"):
            exec(compile(cell, f"cell {number} of the seed", "exec"), namespace)
    return namespace


def test_seed_cells_run_unmodified_and_the_page_streams_an_answer(seed_folder, launches, capsys):
    shown = []
    namespace = run_seed(shown)
    printed = capsys.readouterr().out

    assert "Selected Qwen/Qwen2-VL-2B-Instruct" in printed
    assert "optimum-cli export openvino --model Qwen/Qwen2-VL-2B-Instruct Qwen2-VL-2B-Instruct/INT4" in printed
    assert (seed_folder / "Qwen2-VL-2B-Instruct" / "INT4" / "openvino_language_model.xml").exists()
    answer = printed.partition("Question:\nDescribe this image.\nAnswer:\n")[2]
    assert answer.strip()
    assert [image.size for image in shown] == [(280, 224)]

    assert [settings.get("share") for settings in launches] == [False]
    client = Client(namespace["demo"].local_url, verbose=False)
    message = {"text": "Describe this image.", "files": [handle_file(seed_folder / "demo.jpeg")]}
    job = client.submit(message, api_name="/chat")
    final, pieces = job.result(), job.outputs()
    assert final.strip()
    assert len(pieces) > 1
    assert all(final.startswith(piece) for piece in pieces)


def test_seed_cells_are_whole():
    cells = seed_cells()
    assert len(cells) == 11
    assert sum(cell.startswith("%pip") for cell in cells) == 1
    assert "share=True" in cells[-1]


# ---- what it says ---------------------------------------------------------------------------------------------------

def table_rows() -> list[list[str]]:
    """kind, what the seed has, section of ours or "left out", words there or reason."""
    lines = (DATA / "seed_table.md").read_text(encoding="utf-8").splitlines()
    rows = [[field.strip() for field in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[2:]


@functools.cache
def sections() -> dict[str, str]:
    """The text of our notebooks' cells, code included, under the heading they stand below."""
    found, heading = {}, ""
    cells = [cell for file in NOTEBOOKS for cell in nbformat.read(ROOT / file, as_version=4).cells]
    for cell in cells:
        title = re.match(r"#+ (.+)", cell.source) if cell.cell_type == "markdown" else None
        heading = title[1] if title else heading
        found[heading] = f"{found.get(heading, '')}\n{cell.source}"
    return {name: " ".join(text.split()) for name, text in found.items()}


@pytest.mark.parametrize("row", table_rows(), ids=lambda row: f"{row[0]}: {row[1][:60]}")
def test_seed_item_is_met_or_left_out_for_a_reason(row):
    _, item, section, words = row
    if section == "left out":
        assert len(words.split()) >= 5, f"why is {item!r} left out?"
    else:
        assert section in sections(), f"the notebooks have no section {section!r}"
        assert words in sections()[section], f"{item!r}: {words!r} does not stand in the section {section!r}"


def test_seed_sections_keep_their_order():
    names = list(sections())
    places = [names.index(section) for kind, _, section, _ in table_rows() if kind == "heading"]
    assert places == sorted(places)


def test_every_link_and_import_of_the_seed_cells_is_accounted_for():
    code = "\n".join(seed_cells())
    table = (DATA / "seed_table.md").read_text(encoding="utf-8")
    links = set(re.findall(r"https?://[^\s\"']+", code))
    assert links
    assert {link for link in links if link not in table} == set()
    imported = {name.strip() for line in re.findall(r"^from \S+ import (.+)$", code, re.M) for name in line.split(",")}
    ours = " ".join(sections().values()) + table
    assert {name for name in imported if name not in ours} == set()
