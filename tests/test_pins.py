"""The pins of the requirement files, checked offline against what is installed."""

import ast
import json
import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from environment.supported_python import PYTHON_MAX, PYTHON_MIN, python_range
from environment.versions import WINDOW, check_versions

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ("requirements.txt", "requirements-test.txt")
SERVE = "requirements-serve.txt"
ALL = (*REQUIREMENTS, "requirements-bench.txt", SERVE)
RUNTIME_CODE = ("*.py", "*.ipynb", "adapters/[!r]*.py", "catalog/*.py", "environment/*.py", "export/*.py",
                "session/*.py", "chat_page/*.py", "figures/*.py", "tasks/*.py", "tiny_model/scenes.py")
SERVING_CODE = ("serving/*.py", "adapters/ray_serve.py")
DEVELOPERS_CODE = ("tiny_model/*.py", "tiny_model/training/*.py", "tests/*.py", "tests/serving/*.py",
                   "tests/stress/*.py", "benchmarks/*.py", "benchmarks/engines/*.py", "docs/*.py")


def pinned(*names):
    """(requirement, reason) of every line of the requirement files `names`."""
    lines = [line for name in names for line in (ROOT / name).read_text().splitlines()]
    parts = [line.partition("#") for line in lines if line.strip() and not line.startswith("#")]
    return [(Requirement(left), reason.strip()) for left, _, reason in parts]


PINS = [requirement for requirement, _ in pinned(*REQUIREMENTS)]


def test_every_pin_names_one_version_and_its_reason():
    for requirement, reason in pinned(*ALL):
        assert re.fullmatch(r"==[\d.]+", str(requirement.specifier)), requirement
        assert reason, requirement


@pytest.mark.parametrize("requirement", PINS, ids=lambda pin: pin.name)
def test_pin_is_what_is_installed_and_supports_every_python_the_readme_states(requirement):
    installed = metadata.distribution(requirement.name)
    assert requirement.specifier.contains(installed.version), f"installed: {installed.version}"
    supported = SpecifierSet(installed.metadata["Requires-Python"] or "")
    for minor in range(PYTHON_MIN[1], PYTHON_MAX[1] + 1):
        for version in (f"3.{minor}.0", f"3.{minor}.99"):
            assert supported.contains(version), f"{requirement} wants Python {supported}, so not {version}"


def test_readme_states_the_python_range_that_set_up_accepts():
    stated = re.findall(r"Python (3\.\d+ to 3\.\d+)", (ROOT / "README.md").read_text())
    assert stated and set(stated) == {python_range()}


def test_pins_agree_with_each_other():
    versions = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in PINS}
    for name in versions:
        for needed in map(Requirement, metadata.requires(name) or []):
            pin = versions.get(canonicalize_name(needed.name))
            if pin and (needed.marker is None or needed.marker.evaluate({"extra": ""})):
                assert needed.specifier.contains(pin), f"{name} needs {needed}, the pin is {pin}"


def test_the_pinned_versions_are_inside_the_window_that_an_export_is_refused_outside_of():
    check_versions()


def test_the_pins_are_inside_the_window():
    text = (ROOT / "requirements.txt").read_text()
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))
    shared = set(pins) & set(WINDOW)
    assert {"transformers", "optimum-intel", "openvino", "openvino-tokenizers", "nncf", "torch", "gradio"} <= shared
    outside = {name: pins[name] for name in shared if pins[name] not in SpecifierSet(WINDOW[name][0])}
    assert outside == {}


def closure(names):
    """Distributions that an install of `names` brings, theirs included."""
    found, todo = set(), [canonicalize_name(name) for name in names]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        try:
            needs = [Requirement(line) for line in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:  # for another system
            continue
        found.add(name)
        todo += [canonicalize_name(n.name) for n in needs if n.marker is None or n.marker.evaluate({"extra": ""})]
    return found


def code_of(path):
    """The Python source in a file, without a notebook's prose and %magics."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        sources = ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        text = re.sub(r"^(\s*)[%!].*", r"\1pass", "\n".join(sources), flags=re.M)
    return text


def imported_packages(source):
    """Top-level names that Python `source` imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize(
    "files, code",
    [(REQUIREMENTS[:1], RUNTIME_CODE), ((REQUIREMENTS[0], SERVE), SERVING_CODE), (ALL, DEVELOPERS_CODE)],
)
def test_requirement_files_bring_every_package_that_our_code_imports(files, code):
    brought = closure(requirement.name for requirement, _ in pinned(*files))
    providers = metadata.packages_distributions()
    for path in [path for pattern in code for path in ROOT.glob(pattern)]:
        for name in imported_packages(code_of(path)):
            found = {canonicalize_name(distribution) for distribution in providers.get(name, [])}
            assert not found or found & brought, f"{path.name} imports {name}, which {' and '.join(files)} do not bring"
