"""Web servers on the loopback address, whose answers a test writes; one of them as a company's proxy."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@contextlib.contextmanager
def servers():
    """Yields server(answer) -> address, where `answer(handler)` answers one request; requests are kept in `.seen`."""
    running = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                length = int(self.headers.get("Content-Length", 0))
                start.seen.append((self.path, self.rfile.read(length)))
                answer(self)

            do_POST = do_CONNECT = do_GET

            def log_message(self, *args):
                """The server's own log would only clutter the output of the tests."""

        running.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=running[-1].serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{running[-1].server_port}"

    start.seen = []
    try:
        yield start
    finally:
        for httpd in running:
            httpd.shutdown()
            httpd.server_close()


def answer_with(body: bytes, status: int = 200, **headers):
    """An answer that is always the same."""
    def answer(handler):
        handler.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()
        handler.wfile.write(body)
    return answer


@contextlib.contextmanager
def refusing_proxy(environment: pytest.MonkeyPatch):
    """Inside, every program that `environment` reaches is told to go through a proxy, and it refuses everything.

    Yields the list of (address, body) that it was asked for.
    """
    with servers() as server:
        address = server(answer_with(b"", 502))
        for name in PROXIES:
            environment.setenv(name, address)
        yield server.seen
