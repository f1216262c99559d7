"""What every test file shares: one export of the practice model per precision, isolation, and a socket guard.

For every test, without asking:
  - an attempt to reach another machine fails the test, in this process and in every Python process it starts;
  - settings of the person who runs the tests (tokens, Gradio and Jupyter settings) are out of the way, and what a
    test changes in `os.environ` is put back.

Fixtures (all made once per session):
  tiny_dir       the practice model as shipped, a Hugging Face folder
  exported       exported("int4") -> Export; "fp32", "fp16" and "int8" likewise
  int4_dir, fp32_dir          the folders of two of those
  qwen25_dir     an exported Qwen2.5-VL that knows nothing
  qwen3_dir      an exported Qwen3-VL that knows nothing
  ov_model, ov_model_fp32     loaded from them on the CPU (the second computes in float32 throughout)
  processor      the processor saved with the INT4 export
  processors     that, and those of the exported Qwen2.5-VL and Qwen3-VL
  bare_environment            one per test: variables for a child process, see there

Exports are kept in `build/test-exports/`, keyed by the model's bytes (or the code that writes it), the exporter's
versions and our code that calls it, so that a second run of the tests starts at once and a changed line starts over.
Test doubles live elsewhere.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

import cmd_helper
from adapters.library_telemetry import TELEMETRY_OFF, turn_off_library_telemetry
from environment.telemetry import ENDPOINT_VARIABLE
from tests.socket_guard import sitecustomize as socket_guard

collect_ignore = ["serving"]  # unless it is asked for: make test-serve

ROOT = Path(__file__).resolve().parent.parent
TINY_DIR = ROOT / "tiny_model" / "weights"
EXPORTS = ROOT / "build" / "test-exports"
GUARD_DIR = Path(socket_guard.__file__).parent
EXPORTERS = ("torch", "transformers", "optimum", "optimum-intel", "openvino", "openvino-tokenizers", "nncf")
OUR_EXPORT_CODE = ("cmd_helper.py", "export/*.py", "catalog/manifest.py", "catalog/source.py",
                   "adapters/library_telemetry.py")
PERSONAL = ("HF_TOKEN", "HF_ENDPOINT", ENDPOINT_VARIABLE, "GRADIO_SHARE", "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT",
            "GRADIO_ROOT_PATH", "GRADIO_ALLOWED_PATHS", "JUPYTER_CONFIG_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
            "http_proxy", "https_proxy", "all_proxy")


EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}


# ---- isolation and the guard ----------------------------------------------------------------------------------------

def pytest_configure(config):
    scratch = tempfile.mkdtemp(prefix="tests-")
    config.add_cleanup(lambda: shutil.rmtree(scratch, ignore_errors=True))
    for name in PERSONAL:
        os.environ.pop(name, None)
    os.environ.update(IPYTHONDIR=f"{scratch}/ipython", GRADIO_TEMP_DIR=f"{scratch}/gradio", HF_HUB_OFFLINE="1")
    os.environ.update(guard_variables(Path(scratch, "connections.txt")))
    turn_off_library_telemetry()
    sys.addaudithook(socket_guard.refuse_other_machines)


def guard_variables(log: Path) -> dict[str, str]:
    """Environment variables that put a child Python process behind the socket guard, writing to `log`."""
    search_path = [str(GUARD_DIR), os.environ.get("PYTHONPATH", "")]
    return {socket_guard.LOG_VARIABLE: str(log), "PYTHONPATH": os.pathsep.join(filter(None, search_path))}


def fail_on_connections(when: str) -> None:
    log = Path(os.environ[socket_guard.LOG_VARIABLE])
    if log.exists():
        attempts = log.read_text(encoding="utf-8")
        log.unlink()
        pytest.fail(f"reached for another machine during {when}:\n{attempts}", pytrace=False)


# Hooks rather than an autouse fixture: notebook cells run under nbval take no fixtures.
@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    result = yield
    fail_on_connections("set-up")
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    result = yield
    fail_on_connections("the test")
    return result


@pytest.fixture(autouse=True)
def same_environment_afterwards():
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@contextlib.contextmanager
def as_on_a_readers_machine(connections: Path, home: Path):
    """For the length of a `with`: no CI, nothing opted out, nothing offline, an empty home, a guard on children."""
    before = dict(os.environ)
    for name in (*TELEMETRY_OFF, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "TF_BUILD", "JENKINS_URL"):
        os.environ.pop(name, None)
    home.mkdir(parents=True, exist_ok=True)
    os.environ.update(guard_variables(connections), HOME=str(home), USERPROFILE=str(home), LOCALAPPDATA=str(home))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True)
class BareEnvironment:
    variables: dict[str, str]  # pass as `env=` to a child process
    log: Path

    def connections(self) -> str:
        """What the child tried to reach, one line per attempt; empty when it stayed here."""
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""


@pytest.fixture
def bare_environment(tmp_path) -> BareEnvironment:
    """Variables for a child as a reader's machine has them: `CI` and every telemetry switch unset, behind the guard."""
    log = tmp_path / "connections.txt"
    with as_on_a_readers_machine(log, tmp_path / "home"):
        return BareEnvironment(dict(os.environ), log)


# ---- the practice model and its exports -----------------------------------------------------------------------------

@dataclass(frozen=True)
class Export:
    """One real export: made from and into folders with spaces, with `CI` unset, behind the socket guard."""
    model_dir: Path
    screen: str  # what the reader saw
    log: str  # what the exporter wrote
    connections: str  # what it tried to reach


def export_key(name: str, *writers: Path) -> str:
    """The folder of an export in EXPORTS. writers: the code that writes the model, where it is not the practice one."""
    digest = hashlib.sha256(name.encode())
    ours = sorted(path for pattern in OUR_EXPORT_CODE for path in ROOT.glob(pattern))
    for path in [*sorted(TINY_DIR.iterdir()), *ours, *writers]:
        digest.update(path.name.encode() + path.read_bytes())
    for package in EXPORTERS:
        digest.update(f"{package}=={importlib.metadata.version(package)}".encode())
    return f"{name}-{digest.hexdigest()[:16]}"


def make_export(folder: Path, weight_format: str) -> None:
    """Runs the real exporter once; `screen.txt` is written last and marks the folder as whole."""
    shutil.rmtree(folder, ignore_errors=True)
    source = shutil.copytree(TINY_DIR, folder / "a model")
    shown = folder / "shown.txt"
    with (shown.open("w", encoding="utf-8") as out, contextlib.redirect_stdout(out),
          as_on_a_readers_machine(folder / "connections.txt", folder / "home")):
        cmd_helper.optimum_cli(source, folder / "an export" / weight_format.upper(),
                               additional_args={"weight-format": weight_format})
    shown.rename(folder / "screen.txt")


def read_export(folder: Path, weight_format: str) -> Export:
    model_dir = folder / "an export" / weight_format.upper()
    connections = folder / "connections.txt"
    return Export(model_dir, (folder / "screen.txt").read_text(encoding="utf-8"),
                  model_dir.with_name(f"{model_dir.name}.log").read_text(encoding="utf-8"),
                  connections.read_text(encoding="utf-8") if connections.exists() else "")


@pytest.fixture(scope="session")
def tiny_dir() -> Path:
    assert (TINY_DIR / "model.safetensors").exists(), f"{TINY_DIR} has no weights: see tiny_model/README.md"
    return TINY_DIR


@pytest.fixture(scope="session")
def exported(tiny_dir):
    """exported(weight_format) -> Export, made by `cmd_helper.optimum_cli` where `build/` does not have it yet."""
    def get(weight_format: str) -> Export:
        folder = EXPORTS / export_key(weight_format)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):  # two runs of the tests side by side share one export
            if not (folder / "screen.txt").exists():
                make_export(folder, weight_format)
        return read_export(folder, weight_format)
    return get


@pytest.fixture(scope="session")
def int4_dir(exported) -> Path:
    return exported("int4").model_dir


@pytest.fixture(scope="session")
def fp32_dir(exported) -> Path:
    return exported("fp32").model_dir


def random_export(name: str, writer) -> Path:
    """The float32 export of what the module `writer` writes; beside it, "source of NAME"."""
    folder = EXPORTS / export_key(name, Path(writer.__file__))
    source, export = folder / f"source of {name}", folder / f"export of {name}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not export.exists():  # it appears when it is whole
            shutil.rmtree(source, ignore_errors=True)
            cmd_helper.optimum_cli(writer.write(source, TINY_DIR), export, additional_args={"weight-format": "fp32"})
    return export


@pytest.fixture(scope="session")
def qwen25_dir(tiny_dir) -> Path:
    """A Qwen2.5-VL of random weights (`tests/random_25.py`), exported in float32; beside it "source of qwen25"."""
    from tests import random_25

    return random_export("qwen25", random_25)


@pytest.fixture(scope="session")
def qwen3_dir(tiny_dir) -> Path:
    """A Qwen3-VL of random weights (`tests/random_3.py`), exported in float32; beside it "source of qwen3"."""
    from tests import random_3

    return random_export("qwen3", random_3)


@pytest.fixture(scope="session")
def ov_model(int4_dir):
    from optimum.intel.openvino import OVModelForVisualCausalLM
    return OVModelForVisualCausalLM.from_pretrained(str(int4_dir), device="CPU")


@pytest.fixture(scope="session")
def ov_model_fp32(fp32_dir):
    """Unquantized weights, and float32 kept everywhere: processors with bfloat16 units and the 8-bit KV cache round."""
    from optimum.intel.openvino import OVModelForVisualCausalLM
    return OVModelForVisualCausalLM.from_pretrained(str(fp32_dir), device="CPU", ov_config=EXACT)


@pytest.fixture(scope="session")
def processor(int4_dir):
    from transformers import AutoProcessor
    return AutoProcessor.from_pretrained(int4_dir)


@pytest.fixture(scope="session")
def processors(processor, qwen25_dir, qwen3_dir) -> list:
    from transformers import AutoProcessor
    return [processor, *(AutoProcessor.from_pretrained(folder) for folder in (qwen25_dir, qwen3_dir))]
