"""The guard of `conftest.py` catches what it is there for: otherwise every test that relies on it would prove nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.socket_guard.sitecustomize import stays_here
from tutorial.telemetry import TELEMETRY_OFF

ROOT = Path(__file__).resolve().parent.parent
LOOK_UP = "import socket\ntry: socket.getaddrinfo('example.org', 443)\nexcept OSError: pass\n"
CONNECT = "import socket\ntry: socket.create_connection(('192.0.2.1', 443), timeout=1)\nexcept OSError: pass\n"
IN_A_CHILD = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {LOOK_UP!r}], check=True)\n"
SHARED = "import socket\nserver = socket.create_server(('127.0.0.1', 0))\nsocket.create_connection(server.getsockname())\n"


@pytest.mark.parametrize(("code", "outcome"), [(LOOK_UP, "1 failed"), (CONNECT, "1 failed"), (IN_A_CHILD, "1 failed"),
                                               (SHARED, "1 passed")], ids=["lookup", "connect", "child", "loopback"])
def test_a_test_that_reaches_for_another_machine_fails(tmp_path, code, outcome):
    """Even though the code under test swallows the error, as libraries do."""
    body = "".join(f"    {line}\n" for line in code.splitlines())
    (tmp_path / "test_it.py").write_text(f"def test_it():\n{body}")
    arguments = ["-p", "tests.conftest", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert outcome in done.stdout, done.stdout
    assert ("reached for another machine" in done.stdout) == (outcome == "1 failed")


def test_it_sees_the_telemetry_of_openvino_and_that_it_is_off(bare_environment):
    """Importing OpenVINO's converter reports to an analytics host, unless the variables that our code sets are there."""
    import_it = [sys.executable, "-c", "import openvino.tools.ovc, time; time.sleep(2)"]
    subprocess.run(import_it, env=bare_environment.variables, check=True)
    assert "google-analytics" in bare_environment.connections()
    bare_environment.log.unlink()
    subprocess.run(import_it, env={**bare_environment.variables, **TELEMETRY_OFF}, check=True)
    assert bare_environment.connections() == ""


def test_a_bare_environment_has_no_switch_set(bare_environment):
    assert not {*TELEMETRY_OFF, "HF_HUB_OFFLINE"} & bare_environment.variables.keys()
    assert set(TELEMETRY_OFF) < os.environ.keys(), "while this process keeps its own"


@pytest.mark.parametrize(("host", "here"), [
    ("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), (b"localhost", True), (None, True),
    ("0.0.0.0", True), ("10.0.0.1", False), ("example.org", False), ("localhost.example.org", False), ("fe80::1%eth0", False)])
def test_only_this_machines_addresses_stay_here(host, here):
    assert stays_here(host) == here
