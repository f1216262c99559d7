"""The rooms of this repository import downwards only, each library has one door to us, each constant one place.

Reads the imports of all Python files by their syntax trees (`architecture`); imports none of them. Every rule is tried
on files that break it, too: a rule that cannot fail says nothing.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest

from adapters.qwen_vl import MERGE_SIZE, PATCH_SIZE
from tests.architecture import ROOT, drawing, imports, room_of, table, tracked_files

BEHIND_THE_DOORS = "adapters environment export session catalog chat_session cmd_helper tiny_model figures chat_page"
THE_DOORS_TOO = f"{BEHIND_THE_DOORS} notebook_utils gradio_helper"
# {room: (what its files may import besides their own room, why)}, from the ground up. A name without a dot is a room;
# one with a dot is a room inside a room, or a module of which nothing else may be imported.
ROOMS = {
    "adapters": ("", "know other people's libraries, and nobody of ours"),
    "environment": ("adapters", "knows this machine, whatever is run on it"),
    "export": ("adapters", "runs the exporter, whatever it exports"),
    "session": ("adapters", "runs a model, however it came here and whoever asks"),
    "catalog": ("adapters environment export", "knows which models there are, and runs none"),
    "chat_session": ("adapters session", "is the door to session/"),
    "cmd_helper": ("adapters environment export catalog", "is the door to export/; names folders as catalog/ does"),
    "tiny_model": ("adapters environment session catalog", "opens models and finds boxes in answers to evaluate"),
    "tiny_model.training": ("adapters environment session catalog tiny_model", "makes what the front only uses"),
    "figures": ("adapters session tiny_model", "draw what a session says"),
    "chat_page": ("adapters session chat_session figures tiny_model.scenes", "shows whatever session it is given"),
    "notebook_utils": (BEHIND_THE_DOORS, "is the door to catalog/ and environment/"),
    "gradio_helper": (BEHIND_THE_DOORS, "is the door to chat_page/"),
    "serving": (THE_DOORS_TOO, "serves what the tutorial makes; the tutorial does not know it"),
    "benchmarks": (
        f"{THE_DOORS_TOO} serving tiny_model.training.report",
        "measure everything, and write figures into README.md as the practice model's report does",
    ),
    "tasks": (f"{THE_DOORS_TOO} serving", "start everything, and are started by make"),
    "tests": (f"{THE_DOORS_TOO} serving benchmarks tasks tiny_model.training", "try everything"),
    "docs": (
        f"{THE_DOORS_TOO} serving tiny_model tests.chromium tests.written_answers",
        "take pictures of the running page, as the tests look at it",
    ),
}
REPORTING = ("openvino", "optimum")  # report that they are imported, unless adapters/ is asked for them
EXPORTER = "export/small_trace.py"  # a program of its own, which is optimum-cli; whoever starts it switches that off
UNDOCUMENTED = ("gradio.utils", "gradio.processing_utils", "gradio_client.utils")
TOKEN_SIDE = PATCH_SIZE * MERGE_SIZE  # pixels

Files = dict[str, str]  # {path: source}


@pytest.fixture(scope="module")
def files() -> Files:
    try:
        return tracked_files()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout, so nothing says which files belong to it")


def said(path: str, line: int, what: str) -> str:
    return f"{path}:{line}: {what}"


def none_of(failures: list[str]) -> None:
    """Fails the test with the failures, one on each line."""
    if failures:
        pytest.fail("\n".join(failures), pytrace=False)


def is_of(name: str, module: str) -> bool:
    """Whether `name` is `module`, or something in it."""
    return f"{name}.".startswith(f"{module}.")


def our_imports(files: Files) -> Iterator[tuple[str, str, int]]:
    """(path, name, line) of every import of a room, or of a folder or file at the top level that is none."""
    ours = {PurePosixPath(path).parts[0].removesuffix(".py") for path in files}
    for path, source in files.items():
        for item in imports(path, source):
            if item.name.split(".")[0] in ours:
                yield path, item.name, item.line


def trees(files: Files, without: tuple[str, ...] = ()) -> Iterator[tuple[str, ast.AST]]:
    """(path, node) of every node of every file that is not in one of the rooms `without`."""
    for path, source in files.items():
        if PurePosixPath(path).parts[0] not in without:
            yield from ((path, node) for node in ast.walk(ast.parse(source)))


# ---- imports run downwards ------------------------------------------------------------------------------------------


def forbidden_arrows(files: Files) -> list[str]:
    found = []
    for path, name, line in our_imports(files):
        room = room_of(path.removesuffix(".py").replace("/", "."))
        if room not in ROOMS:
            found.append(said(path, line, f"{room} is no room of tests/test_architecture.py"))
        elif room_of(name) != room and not may_import(room, name):
            found.append(said(path, line, f"{room} may not import {name}: {room} {ROOMS[room][1]}"))
    return found


def may_import(room: str, name: str) -> bool:
    allowed = ROOMS[room][0].split()
    modules = [entry for entry in allowed if "." in entry]
    return room_of(name) in allowed or any(is_of(name, module) for module in modules)


def test_imports_run_downwards(files):
    none_of(forbidden_arrows(files))


def test_every_room_may_only_import_rooms_that_come_before_it():
    names = list(ROOMS)
    for number, name in enumerate(names):
        for entry in ROOMS[name][0].split():
            assert room_of(entry) in names[:number], (name, entry)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("adapters/gradio_internals.py", "import session"),
        ("session/media.py", "from catalog import hub"),
        ("session/media.py", "def f():\n    from chat_session import ChatSession"),
        ("export/staging.py", "if True:\n    import catalog.on_disk as on_disk"),
        ("environment/report.py", "from catalog.on_disk import MODELS_DIR"),
        ("catalog/open.py", "from session.prompt import Prompt"),
        ("tiny_model/evaluate.py", "from tiny_model import training"),
        ("tiny_model/evaluate.py", "from .training import report"),
        ("tiny_model/evaluate.py", "from .training.report import put_between"),
        ("chat_page/header.py", "from tiny_model import evaluate"),
        ("chat_page/header.py", "from tiny_model.scenes_of_others import draw"),
        ("gradio_helper.py", "import notebook_utils"),
        ("serving/front.py", "import importlib\nimportlib.import_module('tasks.demo')"),
        ("benchmarks/speed.py", "from tasks.demo import load"),
        ("benchmarks/report.py", "from tiny_model.training import train"),
        ("docs/screenshots.py", "import tasks.demo"),
        ("lessons/one.py", "import session.prompt"),
    ],
)
def test_an_arrow_that_runs_back_is_found(path, source):
    others = dict.fromkeys([f"{room.replace('.', '/')}/__init__.py" for room in ROOMS], "")
    (failure,) = forbidden_arrows({**others, path: source})
    assert failure.startswith(f"{path}:{len(source.splitlines())}: ")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("session/media.py", "from session import caches\nfrom . import prompt\nfrom adapters import qwen_vl"),
        ("session/media.py", "import os, numpy\nfrom sessions import other"),
        ("chat_page/header.py", "from tiny_model.scenes import draw\nfrom tiny_model import scenes"),
        ("tiny_model/training/train.py", "from tiny_model import scenes\nfrom tiny_model.training import losses"),
        ("benchmarks/report.py", "from tiny_model.training.report import put_between"),
        ("tests/test_tasks.py", "from tasks import demo\nfrom tiny_model.training import train"),
    ],
)
def test_an_arrow_that_runs_down_is_allowed(path, source):
    others = dict.fromkeys([f"{room.replace('.', '/')}/__init__.py" for room in ROOMS], "")
    assert forbidden_arrows({**others, path: source}) == []


# ---- packages, and the path on which Python finds them --------------------------------------------------------------


def folders_without_init(files: Files) -> list[str]:
    """Folders that are imported and have no __init__.py; each with the first import of it. Of tests/ pytest takes files
    and not packages: these import each other as parts of a namespace.
    """
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    found: dict[str, str] = {}
    for path, name, line in our_imports(files):
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            folder = "/".join(parts[:end])
            if parts[0] != "tests" and folder in folders and f"{folder}/__init__.py" not in files:
                found.setdefault(folder, said(path, line, f"imports {name}, but {folder}/ has no __init__.py"))
    return list(found.values())


def test_folders_that_are_imported_are_packages(files):
    none_of(folders_without_init(files))


def test_a_folder_that_is_no_package_is_found():
    tree = {"session/__init__.py": "", "session/parts/a.py": "", "main.py": "import session.parts.a"}
    assert len(folders_without_init(tree)) == 1
    assert folders_without_init({**tree, "session/parts/__init__.py": ""}) == []


def path_changes(files: Files) -> list[str]:
    """Statements that change `sys.path`, outside tests/."""
    found = []
    for path, node in trees(files, without=("tests",)):
        if isinstance(node, ast.Call):
            changes = ast.unparse(node.func).startswith(("sys.path.", "site.addsitedir"))
        elif isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            changes = any(ast.unparse(target).startswith("sys.path") for target in targets)
        else:
            changes = isinstance(node, ast.ImportFrom) and ast.unparse(node).startswith("from sys import path")
        if changes:
            found.append(said(path, node.lineno, f"changes sys.path: {ast.unparse(node)}"))
    return found


def test_nothing_changes_where_python_looks_for_modules(files):
    none_of(path_changes(files))


@pytest.mark.parametrize(
    "source",
    ["sys.path.insert(0, 'x')", "sys.path += ['x']", "sys.path[:0] = ['x']", "sys.path = []", "from sys import path"],
)
def test_a_change_of_the_path_is_found(source):
    assert path_changes({"benchmarks/speed.py": source})
    assert not path_changes({"tests/test_setup.py": source, "tasks/demo.py": "print(sys.path, sys.path[0])"})


# ---- other people's libraries ---------------------------------------------------------------------------------------


def imports_past_the_adapters(files: Files) -> list[str]:
    """Imports of what only adapters/ may import. Tests may: they switch telemetry off first, and compare."""
    found = []
    for path, source in files.items():
        if PurePosixPath(path).parts[0] in ("adapters", "tests") or path == EXPORTER:
            continue
        for item in imports(path, source):
            if any(is_of(item.name, module) for module in (*REPORTING, *UNDOCUMENTED)):
                found.append(said(path, item.line, f"imports {item.name}; ask adapters/ for it"))
    return found


def test_libraries_that_report_or_are_undocumented_are_imported_by_adapters_alone(files):
    none_of(imports_past_the_adapters(files))


@pytest.mark.parametrize(
    "source",
    [
        "import openvino as ov", "from openvino import opset13", "def f():\n    from optimum.intel import OVModel",
        "from gradio import utils", "from gradio.processing_utils import hash_file", "import gradio_client.utils",
    ],
)  # fmt: skip
def test_an_import_past_the_adapters_is_found(source):
    assert imports_past_the_adapters({"serving/front.py": source})
    allowed = {"adapters/all.py": source, "benchmarks/genai.py": "import openvino_genai, gradio\nimport gradio_client"}
    assert not imports_past_the_adapters(allowed)


def private_names(files: Files) -> list[str]:
    """Private names of libraries outside adapters/ and tests/: names with one underscore in front that are imported
    from a library, or looked up in one; and those of objects that we know of, because no import tells of these.
    """
    found = []
    ours = {PurePosixPath(path).parts[0].removesuffix(".py") for path in files}
    for path, source in files.items():
        if PurePosixPath(path).parts[0] in ("adapters", "tests"):
            continue
        libraries = set()  # names in this file that are a library, a module of one, or something of it
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                names = [(alias.name, alias.asname or alias.name.split(".")[0]) for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [(f"{node.module}.{alias.name}", alias.asname or alias.name) for alias in node.names]
            else:
                continue
            for name, known_as in names:
                if name.split(".")[0] not in ours | sys.stdlib_module_names:
                    libraries.add(known_as)
                    if any(is_private(part) for part in name.split(".")):
                        found.append(said(path, node.lineno, f"imports {name}"))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute) and is_private_use(node, libraries):
                found.append(said(path, node.lineno, f"uses {ast.unparse(node)}"))
            elif isinstance(node, ast.keyword) and node.arg == "_node_ip_address":
                found.append(said(path, node.value.lineno, "uses Ray's _node_ip_address"))
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def is_private_use(node: ast.Attribute, libraries: set[str]) -> bool:
    owner = ast.unparse(node.value)
    if owner in ("self", "cls"):
        return False
    is_set = isinstance(node.ctx, ast.Store)
    known = node.attr == "_device" or (node.attr == "request" and is_set)  # of optimum-intel
    return known or (is_private(node.attr) and owner.split(".")[0] in libraries)


def test_private_names_of_libraries_are_used_by_adapters_alone(files):
    none_of(private_names(files))


@pytest.mark.parametrize(
    "source",
    [
        "from gradio._simple_templates import x", "from ray import _private", "import ray\nray._private.worker",
        "import gradio as gr\ngr.components._Keywords", "print(model._device)", "part.request = None",
        "start(_node_ip_address='127.0.0.1')",
    ],
)  # fmt: skip
def test_a_private_name_of_a_library_is_found(source):
    assert private_names({"serving/front.py": source})
    assert not private_names({"adapters/ray_serve.py": source})


def test_our_own_names_and_those_of_the_standard_library_are_not_taken_for_them():
    source = (
        "import os\nfrom session import media\nfrom __future__ import annotations\n"
        "os._exit(1)\nself._device = self.request = part.request\nmedia._open\nself.model._compiled\nray.__version__"
    )
    assert private_names({"session/media.py": source}) == []


# ---- one place for each ---------------------------------------------------------------------------------------------


def second_sizes(files: Files) -> list[str]:
    """Products with 28 × 28, the number 784, and names of patch sizes, outside of adapters/ (the notebook is no
    Python file).
    """
    found = []
    for path, node in trees(files, without=("adapters",)):
        if isinstance(node, ast.BinOp) and factors(node).count(TOKEN_SIDE) == 2:
            found.append(said(path, node.lineno, f"{ast.unparse(node)}: ask adapters.qwen_vl for PIXELS_PER_TOKEN"))
        elif isinstance(node, ast.Constant) and node.value == TOKEN_SIDE**2:
            found.append(said(path, node.lineno, f"{node.value}: ask adapters.qwen_vl for PIXELS_PER_TOKEN"))
        elif isinstance(node, ast.Assign) and re.fullmatch(rf"\w*PATCH\w* = {PATCH_SIZE}", ast.unparse(node)):
            found.append(said(path, node.lineno, f"{ast.unparse(node)}: ask adapters.qwen_vl for PATCH_SIZE"))
    return found


def factors(node: ast.AST) -> list:
    """The numbers in a product: [256, 28, 28] of `256 * 28 * 28`, [28, 28] of `28**2`."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return factors(node.left) + factors(node.right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and ast.unparse(node.right) == "2":
        return factors(node.left) * 2
    return [node.value] if isinstance(node, ast.Constant) else []


def test_the_size_of_a_visual_token_has_one_place(files):
    none_of(second_sizes(files))


@pytest.mark.parametrize(
    "source", ["A = 28 * 28", "f(min_pixels=256 * 28 * 28)", "28 * n * 28", "n * 28**2", "B = 784", "PATCH = 14"]
)
def test_a_second_size_of_a_visual_token_is_found(source):
    assert second_sizes({"tasks/demo.py": source})
    assert not second_sizes({"adapters/qwen_vl.py": source, "tasks/demo.py": "a = 28 * 3\nb = 28\nwidth = 14"})


# ---- the drawing ----------------------------------------------------------------------------------------------------


def test_the_drawing_has_every_room_and_leaves_out_arrows_that_follow_from_others():
    files = {
        "adapters/__init__.py": "one\ntwo",
        "session/__init__.py": "import adapters.x",
        "chat_session.py": "import session\nimport adapters",
    }
    graph = drawing(files).partition("```mermaid\n")[2].partition("```")[0]
    assert graph.split("\n")[1:] == ["    chat_session --> session", "    session --> adapters", ""]
    lines = table(files).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]
    assert rows == [
        ["`adapters`", "1", "2", "–"], ["`session`", "1", "1", "adapters"],
        ["`chat_session`", "1", "2", "adapters, session"],
    ]  # fmt: skip


def test_the_drawing_in_the_documentation_is_that_of_the_code(files):
    """If not: put what `python -m tests.architecture` prints there."""
    assert drawing(files) in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_file_that_the_documentation_names_is_there(files):
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.py)`", text))
    assert len(named) > 15
    assert named <= files.keys()
