"""Which of Gradio's routes (6.31) a page of ours answers at. All others are closed, whatever a later Gradio has there.

Of those that we do not use, some did what no stranger should have done: `file=https://…` fetches any public address,
`pwa_icon/50000` makes a picture of so many pixels a side, `monitoring` tells which questions are asked how often and
writes its key to the log, `custom_component/…` writes what it is asked to the log, `dev/reload` is a stream that nobody
counts, `deep_link` writes files that nothing deletes, `component_server` makes a session of any name.

Of `info`, Gradio keeps what it told the first who asked, in which the page's address is what that one called it.

Not here: the API of `serving`, which is mounted at /v1. Noticed by tests/security/test_routes.py.
"""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

_FIRST = "|".join((
    "", "config", "theme.css", "robots.txt", "favicon.ico", "manifest.json", r"pwa_icon(?:/(?:192|512))?",
    "(?:assets|static|svelte)/.+", "login", "logout", "v1(?:/.*)?",
))  # fmt: skip
_API = "|".join((
    "info", "openapi.json", "app_id", "user", "token", "login_check", "theme.css", "startup-events", "heartbeat/[^/]+",
    "queue/(?:join|data|status)", "upload", "upload_progress", "cancel", "reset", "run/[^/]+",
    "call/(?:v2/)?[^/]+(?:/[^/]+)?",
    r"file=(?!\s*[A-Za-z][A-Za-z0-9+.-]+:).+",  # a path; a scheme has two letters at least: "C:" is a disk
))  # fmt: skip
_USED = re.compile(f"/(?:(?:{_FIRST})|gradio_api/(?:{_API}))/?", re.DOTALL)


def is_used(path: str) -> bool:
    """Whether a page answers at `path`, without the proxy's prefix."""
    return _USED.fullmatch(path) is not None


def telling_each_its_own(app: ASGIApp) -> ASGIApp:
    """`app`, Gradio's, which is asked for `info` of the page, because that it does not keep."""

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].rstrip("/").endswith("/gradio_api/info"):
            query = scope["query_string"]
            scope = {**scope, "query_string": query if b"page=" in query else b"&".join([b"page=", query])}
        await app(scope, receive, send)

    return asked
