"""A server on this machine is reached directly, whatever proxy the environment names for the web.

httpx, with which Gradio asks its own server whether it has started, sends even that request to the proxy of
HTTP_PROXY, http_proxy or ALL_PROXY unless NO_PROXY names this machine; a company's proxy refuses it, and no page
starts. Noticed by tests/security/test_proxy.py.
"""

import contextlib
import os
from collections.abc import Iterator
from urllib.request import getproxies_environment

LOOPBACK = ("127.0.0.1", "localhost", "::1")  # also what a server may listen at without other machines reaching it
VARIABLES = ("NO_PROXY", "no_proxy")  # where both are set, the second counts


@contextlib.contextmanager
def reached_directly() -> Iterator[None]:
    """Inside, this process and those that it starts reach this machine without a proxy, and all others as before."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    exceptions = getproxies_environment().get("no", "")
    os.environ.update(dict.fromkeys(VARIABLES, ",".join(filter(None, [exceptions, *LOOPBACK]))))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
