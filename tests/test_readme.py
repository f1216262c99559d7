"""README.md and the pages it links to, against the repository: what they name exists, and what they say a command
prints is what it prints.
"""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from notebook_utils import costs_table, model_choices
from tasks import run_notebook

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", ROOT / "SECURITY.md",
         *sorted((ROOT / "docs").glob("*.md"))) if path.exists() and path.name != "decisions.md"}  # that one looks back
TEXT = "\n".join(PAGES.values())
BLOCKS = re.findall(r"```\w*\n(.*?)```", TEXT, flags=re.S)
SPANS = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.S))
OF_OTHERS = ("docker", "curl", "--task", "--model_path")  # programs, and what only they take
OURS = [code for code in BLOCKS + SPANS if not code.startswith(OF_OTHERS)]
WORDS = [word.replace("\\", "/") for code in OURS for word in code.split()]
NO_FILES = ("Qwen/", "OpenVINO/", "application/")  # names on the hub, and a type
FILE_TYPES = (".py", ".ipynb", ".txt", ".md", ".toml", ".html", ".jpg")


def paths():
    """Words in code that name a file or folder of this repository."""
    plain = {word for word in WORDS if re.fullmatch(r"\.?[\w.-]+(/[\w.-]*)*", word) and not word.startswith(NO_FILES)}
    return sorted(word for word in plain if word.endswith(FILE_TYPES) or "/" in word or word in ("Makefile", ".venv"))


def test_every_path_exists_or_is_made_by_a_command():
    made = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    assert len(paths()) > 20
    missing = [path for path in paths() if not (ROOT / path).exists() and Path(path).parts[0] not in made]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_picture_inside_the_repository_exists(page):
    text = PAGES[page]
    links = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    inside = [link.partition("#") for link in links if not link.startswith("https://")]
    files = {link: (page.parent / file if file else page) for link in inside for file in [link[0]]}
    assert not [link for link, file in files.items() if not file.exists()]
    for (_, has_part, part), file in files.items():
        assert not has_part or part in anchors(file), f"{file.name} has no heading #{part}"


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings of a Markdown file."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_readme_is_read_in_a_few_minutes():
    assert len(re.findall(r"\S*\w\S*", README)) <= 1200


def test_every_top_level_file_is_explained():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout, so nothing says which files belong to it")
    tops = {Path(line).parts[0] for line in listed.stdout.splitlines()} - {"README.md", ".gitignore"}
    assert not [top for top in tops if top not in TEXT]


def test_every_make_target_and_variable_exists():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"\bmake ([a-z-]+)", "\n".join(BLOCKS + SPANS))
    assert {"run", "test", "lab", "demo", "lint", "clean", "help"} <= set(targets)
    assert not [target for target in targets if not re.search(rf"^{target}:", makefile, flags=re.M)]
    folders = ("t*", "serving", "adapters")
    others = [path for folder in folders for path in ROOT.glob(f"{folder}/*.py") if path != Path(__file__)]
    code = makefile + "".join(path.read_text(encoding="utf-8") for path in others)
    variables = {match[1] for word in WORDS if (match := re.match(r"([A-Z][A-Z0-9_]{3,})(=|$)", word))} - {"AUTO"}
    assert {"MODEL", "DEVICE", "HOST", "PORT", "PYTHON"} <= variables
    assert not [name for name in variables if name not in code]


def test_every_option_is_one_that_its_program_knows():
    exporter = ["-m", "optimum.commands.optimum_cli", "export", "openvino"]
    benchmarks = [["-m", "benchmarks", command] for command in ("speed", "random-model", "serving")]
    programs = (["-m", "tasks.bootstrap"], ["-m", "tasks.demo"], ["-m", "pytest"], *benchmarks, exporter)
    helps = [[sys.executable, *program, "--help"] for program in programs]
    known = "".join(subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout for command in helps)
    options = {word for word in WORDS if re.match("--[a-z]", word)}
    assert {"--tests", "--model", "--nbval-lax"} <= options
    assert not [option for option in options if not re.search(rf"{option}\b", known)]


def test_every_helper_is_in_the_file_it_is_said_to_be_in():
    rows = re.findall(r"^\| `([\w.]+\.py)`[^|]*\| `(\w+)`", TEXT, flags=re.M)
    assert len(rows) >= 3
    for file, name in rows:
        assert re.search(rf"^(def|class) {name}\b", (ROOT / file).read_text(encoding="utf-8"), flags=re.M), (file, name)


def test_commands_without_make_are_those_that_make_runs():
    recipe = re.search(r"^test:.*\n\t(.*)", (ROOT / "Makefile").read_text(), flags=re.M)[1]
    arguments = recipe.removeprefix("$(VENV_PYTHON) ")
    assert f".venv/bin/python {arguments}\n" in TEXT
    assert f".venv\\Scripts\\python {arguments}\n" in TEXT


def test_output_of_make_run_is_the_committed_notebooks_answer_and_the_lines_that_follow_it():
    answer = run_notebook.first_answer(nbformat.read(run_notebook.NOTEBOOK, as_version=4))
    assert answer
    assert f"{answer}\n\n{run_notebook.where(run_notebook.BUILD)}\n{run_notebook.next_steps()}\n" in README


def test_costs_of_the_models_are_those_that_the_notebook_shows():
    assert costs_table(model_choices()) in README


def test_nothing_is_left_to_fill_in():
    assert "TODO" not in TEXT
