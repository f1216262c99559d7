"""Web servers on the loopback address, whose answers a test writes."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


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

            do_POST = do_GET

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
