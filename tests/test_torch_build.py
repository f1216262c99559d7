"""`environment.torch_build`: the CPU build where the whole pair is offered, the default build everywhere else.

Package indexes are web servers on the loopback address.
"""

import http.server
import platform
import sys
import threading

import pytest

from environment.torch_build import cpu_build

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is a second build for Linux only")
PINS_TEXT = "torch==2.14.1  # why\ntorchvision==0.29.1  # why\n"


@pytest.fixture
def index():
    """index(pages): the address of a package index on this machine that serves {name: page}; None never answers."""
    servers, over = [], threading.Event()

    def serve(pages):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                page = pages.get(self.path.strip("/"))
                if page is None:
                    over.wait()
                    return
                self.send_response(200)
                self.end_headers()
                self.wfile.write(page.encode())

            def log_message(self, *args):
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield serve
    over.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def wheel_link(name, version, python="cp312"):
    machine = platform.machine()
    return f'<a href="/whl/{name}-{version}%2Bcpu-{python}-{python}-manylinux_2_28_{machine}.whl">'


@on_linux
def test_cpu_build_is_taken_for_torch_and_torchvision_together(index):
    address = index({"torch": wheel_link("torch", "2.14.1"), "torchvision": wheel_link("torchvision", "0.29.1")})
    expected = ["torch==2.14.1+cpu", "torchvision==0.29.1+cpu", "--extra-index-url", address]
    assert cpu_build(PINS_TEXT, (3, 12), address) == expected


@on_linux
@pytest.mark.parametrize("page", [
    pytest.param("", id="none"),
    pytest.param(wheel_link("torchvision", "0.29.0"), id="other version"),
    pytest.param(wheel_link("torchvision", "0.29.1", "cp313"), id="other Python"),
    pytest.param(None, id="no answer"),
])
def test_default_build_is_taken_where_the_pair_is_not_whole(index, page):
    address = index({"torch": wheel_link("torch", "2.14.1"), "torchvision": page})
    assert cpu_build(PINS_TEXT, (3, 12), address, timeout_s=2) == []


@on_linux
def test_default_build_is_taken_where_the_index_cannot_be_reached(index):
    assert cpu_build(PINS_TEXT, (3, 12), "http://127.0.0.1:1", timeout_s=2) == []
