"""The guard of `conftest.py` catches what it is there for; else the tests that rely on it would prove nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.library_telemetry import TELEMETRY_OFF
from tests.socket_guard.sitecustomize import stays_here

ROOT = Path(__file__).resolve().parent.parent
REACHING = """
import socket, subprocess, sys
def swallow(call, *args):  # as libraries do that send usage statistics
    try: call(*args)
    except OSError: pass
def test_lookup(): swallow(socket.getaddrinfo, "example.org", 443)
def test_connection(): swallow(socket.create_connection, ("192.0.2.1", 443), 1)
def test_child():
    subprocess.run([sys.executable, "-c", "import socket; socket.gethostbyname('example.org')"], stderr=subprocess.PIPE)
def test_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server: socket.create_connection(server.getsockname()).close()
"""


def test_a_test_that_reaches_for_another_machine_fails(tmp_path):
    (tmp_path / "test_it.py").write_text(REACHING)
    arguments = ["-p", "tests.conftest", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, capture_output=True, text=True)
    failed = re.findall(r"^FAILED \S+::(\w+) - (.*)", done.stdout, re.MULTILINE)
    assert [name for name, _ in failed] == ["test_lookup", "test_connection", "test_child"], done.stdout
    assert all(why.startswith("Failed: reached for another machine") for _, why in failed)
    assert "1 passed" in done.stdout


def test_it_sees_the_telemetry_of_openvino_and_that_it_is_off(bare_environment):
    """Importing its converter reports to an analytics host, unless the variables are there that our code sets."""
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
    ("0.0.0.0", True), ("10.0.0.1", False), ("example.org", False), ("localhost.example.org", False),
    ("fe80::1%eth0", False)])
def test_only_this_machines_addresses_stay_here(host, here):
    assert stays_here(host) == here
