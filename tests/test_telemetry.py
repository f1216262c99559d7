"""Nothing is reported: not by what we import, and by ourselves only where the reader names an address.

Imports run in processes as a reader starts them: `CI` and every switch unset, behind a guard on sockets.
"""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from environment import telemetry
from environment.telemetry import collect_telemetry
from tests.conftest import BareEnvironment
from tests.loopback import answer_with, servers
from tests.socket_guard.sitecustomize import LOG_VARIABLE

ROOT = Path(__file__).resolve().parent.parent
DOORS = ("chat_session", "cmd_helper", "gradio_helper", "notebook_utils")
ROOMS = ("catalog.open", "environment.device_check", "environment.report", "export.run", "session.ov_model",
         "tiny_model.evaluate", "serving.openai_api", "serving.replica", "tasks.demo")
FOLDERS = ("benchmarks", "figures")  # each file in them
NOT_EVERYWHERE = ("matplotlib", "openvino_genai", "ray")  # what requirements-bench.txt and -serve.txt bring
REPORTS_WITHIN_S = 2  # of its import a library has sent its report, or has tried to


# ---- imports ---------------------------------------------------------------------------------------------------------


def reached_by_importing(module: str, reader: BareEnvironment) -> str:
    """Whom a process tried to reach that imports `module` first; or how the import failed."""
    log = reader.log.with_name(f"{module}.txt")
    code = f"import {module}, time; time.sleep({REPORTS_WITHIN_S})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**reader.variables, LOG_VARIABLE: str(log)},
                          capture_output=True, text=True)
    attempts = log.read_text(encoding="utf-8") if log.exists() else ""
    is_absent = any(f"No module named '{name}'" in done.stderr for name in NOT_EVERYWHERE)
    return attempts + (done.stderr if done.returncode and not is_absent else "")


def test_whatever_is_imported_first_nobody_is_told(bare_environment):
    files = [path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).glob("*.py")]
    names = [".".join(file.with_suffix("").parts) for file in files if file.stem not in ("__init__", "__main__")]
    modules = [*DOORS, *ROOMS, *names]
    assert len(names) > 5
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:  # twice, because half of the time they sleep
        reached = list(pool.map(lambda module: reached_by_importing(module, bare_environment), modules))
    assert {module: whom for module, whom in zip(modules, reached, strict=True) if whom} == {}


# ---- our own -------------------------------------------------------------------------------------------------------


@pytest.fixture
def server():
    with servers() as server:
        yield server


def test_nothing_is_sent_unless_the_reader_names_an_endpoint(monkeypatch):
    import requests

    monkeypatch.setattr(requests, "post", lambda *args, **kwargs: pytest.fail("a request was made"))
    collect_telemetry("qwen2-vl.ipynb")


def test_only_the_files_name_is_sent(server, monkeypatch):
    monkeypatch.setenv("QWEN2_VL_TELEMETRY_URL", server(answer_with(b"")) + "/here")
    collect_telemetry("/home/someone/secret project/qwen2-vl.ipynb")
    assert [(path, json.loads(body)) for path, body in server.seen] == [("/here", {"file": "qwen2-vl.ipynb"})]


@pytest.mark.parametrize("name", ["DO_NOT_TRACK", "SCARF_NO_ANALYTICS"])
@pytest.mark.parametrize(("value", "sent"), [("1", 0), ("true", 0), ("TRUE", 0), ("yes", 0),
                                             ("0", 1), ("false", 1), ("", 1)])
def test_opting_out_is_honoured_however_it_is_written(server, monkeypatch, name, value, sent):
    monkeypatch.setenv("QWEN2_VL_TELEMETRY_URL", server(answer_with(b"")))
    monkeypatch.setenv(name, value)
    collect_telemetry("qwen2-vl.ipynb")
    assert len(server.seen) == sent


def test_a_redirect_is_not_followed(server, monkeypatch):
    monkeypatch.setenv("QWEN2_VL_TELEMETRY_URL", server(answer_with(b"", 307, Location="/elsewhere")) + "/named")
    collect_telemetry("qwen2-vl.ipynb")
    assert [path for path, _ in server.seen] == ["/named"]


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9/", "not an address", "http://", "ftp://127.0.0.1/", "http://[::"])
def test_telemetry_never_raises(monkeypatch, endpoint, capsys):
    monkeypatch.setenv("QWEN2_VL_TELEMETRY_URL", endpoint)
    collect_telemetry("qwen2-vl.ipynb")
    assert "Telemetry was not sent" in capsys.readouterr().out


def test_telemetry_gives_up_on_a_server_that_hangs(server, monkeypatch, capsys):
    monkeypatch.setattr(telemetry, "TIMEOUT_S", 0.2)
    silence = threading.Event()
    monkeypatch.setenv("QWEN2_VL_TELEMETRY_URL", server(lambda handler: silence.wait(30)))
    collect_telemetry("qwen2-vl.ipynb")
    silence.set()
    assert "ReadTimeout" in capsys.readouterr().out


def test_the_seeds_first_call_also_silences_the_libraries(bare_environment):
    """In a process as a reader starts it, with CI unset: the call comes first, then OpenVINO is imported."""
    code = ("from notebook_utils import collect_telemetry; collect_telemetry('qwen2-vl.ipynb');"
            "import openvino.tools.ovc, time; time.sleep(2)")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=bare_environment.variables, check=True)
    assert bare_environment.connections() == ""
