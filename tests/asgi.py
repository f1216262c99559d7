"""An ASGI application on the loopback address, for as long as a test needs it."""

import contextlib
import threading
import time
from collections.abc import Iterator

STARTED_S, ENDED_S = 60, 20  # on a busy machine


@contextlib.contextmanager
def listening(app) -> Iterator[str]:
    """The address of `app`, served in a thread."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + STARTED_S
    while not server.started and time.monotonic() < end:
        time.sleep(0.01)
    assert server.started
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(ENDED_S)
