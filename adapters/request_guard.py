"""Who may ask a page of ours, and how much at once: the outermost ASGI layer around Gradio's server, and around the API
that is mounted into it.

    RequestGuard(app, TrustedNames("hub.example.org"), check_host=True)

A browser sends to a server on its own machine what any web site tells it to. So, before anything is read:

    how often        `adapters.request_rate`, for each address
    the path         only what a page answers at (`adapters.page_routes`)
    Host             only this machine's names, where the page is for this machine alone: a site whose name leads here
                     (DNS rebinding) gets nothing
    Origin           a page from elsewhere may not ask, post or upload, whatever the Host
    Content-Type     JSON is called JSON; a browser sends text/plain across sites without asking first
    the body         bounded for each request and for all together (`adapters.request_body`); files say beforehand how
                     large they are, and leave room on the disk

Every answer says that only its own origin is loaded from, sent to, and shown around it (`page_policy`). Refusals say
what to set: PAGE_HOSTS, for people behind a proxy, JupyterHub or Codespaces.

Not here: what the page does with a request (`chat_page`), passwords (Gradio's `auth`, `serving`), TLS, which is the
proxy's. Noticed by tests/security/test_requests.py.
"""

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.open_streams import visitor_address
from adapters.request_body import BUSY, FILES, JSON, MAX_BYTES_AT_ONCE, BytesAtOnce, RequestBody, too_large
from adapters.request_rate import LOGIN_COST, SCRIPT_COST, RequestRate, TokenBuckets, Turns
from adapters.uploads import has_room

HOSTS_VARIABLE = "PAGE_HOSTS"
# Names that lead to this machine wherever they are looked up. The last one is Docker's, for a container's host; no name
# below `.internal` can be had on the internet.
OWN_NAMES = ("localhost", "host.docker.internal")
FRAMES = "http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:* vscode-webview:"  # of notebooks

API, PAGE_API = "/v1/", "/gradio_api/"  # where an API is mounted into the page, and the page's own
HANDLER = f"{PAGE_API}run/"  # what is not queued; forty run at once
MAX_HANDLERS = 16  # of one address
MAX_PAGE_BYTES = 8 << 20  # of a request's body: more than what a browser stores of a conversation
MAX_API_BYTES = 96 << 20  # pictures are inside
DAY_S = 24 * 3600
UPLOADED_BYTES = 4 << 30  # of one address in a day

FORM = "application/x-www-form-urlencoded"
CORS_HEADERS = {
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": "authorization, content-type",
    "access-control-max-age": "600",
}
TOO_OFTEN = "Too many requests came from this address. Please wait a few seconds."
AGAIN = {"retry-after": "10", "connection": "close"}  # with that
FILE_POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'"


class TrustedNames:
    """The names of this machine, and what its owner adds: `text` is a list like

        hub.example.org, .example.org, https://chat.example.org, app://obsidian.md, *

    A name is trusted as Host and, with any port, as Origin; one that begins with a dot stands for all names below it;
    what has a scheme is that very Origin, and a Host where it is of the web; "*" is everything.
    """

    def __init__(self, text: str = ""):
        entries = re.split(r"[,\s]+", text.strip().lower()) if text.strip() else []
        self.everything = "*" in entries
        self._origins = {entry.rstrip("/") for entry in entries if "://" in entry}
        self._names = {entry for entry in entries if "://" not in entry and entry != "*"}
        self._hosts = self._names | set(filter(None, map(_name_of_web, self._origins)))

    def trusts_host(self, host: str) -> bool:
        """Whether `host`, a Host header, is this machine or trusted. A bare address is: no site can have it as name."""
        name = _name_of(f"//{host}")
        return self.everything or (
            bool(name) and (name in OWN_NAMES or _is_address(name) or _is_among(name, self._hosts))
        )

    def trusts_origin(self, origin: str) -> bool:
        """Whether pages from `origin`, an Origin header, may ask: only where the owner says so."""
        name = _name_of_web(origin.lower())
        is_named = bool(name) and _is_among(name, self._names)
        return self.everything or origin.lower() in self._origins or is_named

    def frames(self) -> str:
        """Who may show the page in a frame, as sources of a Content-Security-Policy."""
        if self.everything:
            return "*"
        named = (f"*{name}" if name.startswith(".") else name for name in sorted(self._hosts))
        return " ".join([FRAMES, *(f"http://{name}:* https://{name}:*" for name in named)])


def page_policy(names: TrustedNames) -> str:
    """The Content-Security-Policy of a page. Gradio starts by an inline script and builds functions from text; pictures
    and videos of the input box are blobs, small icons are data; all else is the page's own.
    """
    return (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
        "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
        f"frame-src 'none'; frame-ancestors 'self' {names.frames()}"
    )


class Refusal(Exception):
    """status: of HTTP. message: a sentence for whoever asked."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class RequestGuard:
    """check_host: the page is for this machine alone, without a password. max_upload_bytes: of one upload. is_used:
    whether there is anything at a path.
    """

    def __init__(
        self,
        app: ASGIApp,
        names: TrustedNames,
        *,
        check_host: bool,
        max_upload_bytes: int,
        is_used: Callable[[str], bool] = lambda path: True,
    ):
        self._app = app
        self._names = names
        self._check_host = check_host
        self._max_upload_bytes = max_upload_bytes
        self._is_used = is_used
        self._at_once = BytesAtOnce()
        self._rate = RequestRate()
        self._handlers = Turns(MAX_HANDLERS)
        self._uploaded = TokenBuckets(UPLOADED_BYTES, UPLOADED_BYTES / DAY_S)
        self._headers = {
            "content-security-policy": page_policy(names),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": "geolocation=(), payment=(), usb=(), serial=(), bluetooth=()",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # nothing of ours speaks it
            return await send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        send = self._with_headers(scope, headers, send)
        address = visitor_address(scope.get("client"))
        try:
            await self._check_rate(scope, address)
            self._check_sender(scope, headers)
            if scope["method"] == "OPTIONS" and "origin" in headers:
                return await Response(status_code=204)(scope, receive, send)
            if not self._is_used(scope["path"]):
                raise Refusal(404, "Not Found")
            limit = self._check_body(scope, headers, address)
            runs = HANDLER in scope["path"]
            if runs and not self._handlers.has_room(address):
                raise Refusal(429, TOO_OFTEN)
        except Refusal as refusal:
            return await _refuse(refusal, headers)(scope, receive, send)
        body = RequestBody(scope, receive, limit, self._at_once, is_api=_is_api(scope["path"]))
        try:
            async with self._handlers.turn(address if runs else ""):
                await self._app(scope, body.receive, body.until_answered(send))
        finally:
            body.release()

    # ---- who asks ------------------------------------------------------------------------------------------------

    async def _check_rate(self, scope: Scope, address: str) -> None:
        """Raises Refusal, and late, for an address that asks too often."""
        if not self._rate.allows(address, _cost(scope)):
            await self._rate.hold_up(address)
            raise Refusal(429, TOO_OFTEN)

    def _check_sender(self, scope: Scope, headers: Headers) -> None:
        """Raises Refusal for a Host that is not ours, and for a page that is not ours."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._check_host and not self._names.trusts_host(host):
            raise Refusal(403, f"This server does not know itself as {host[:100]!r}. {_what_to_set(host)}")
        if origin and self._names.trusts_origin(origin):
            return
        site = headers.get("sec-fetch-site")  # browsers set it, and no page can
        if site is None:
            is_from_elsewhere = origin is not None and not _is_same_origin(origin, host)
        else:
            is_followed_link = scope["method"] in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
            is_from_elsewhere = site not in ("same-origin", "none") and not is_followed_link
        if is_from_elsewhere:
            whose = f"A page from {origin[:100]!r}" if origin else "A page from elsewhere"
            raise Refusal(403, f"{whose} may not ask this server. {_what_to_set(origin or '')}")

    # ---- what is sent --------------------------------------------------------------------------------------------

    def _check_body(self, scope: Scope, headers: Headers, address: str) -> int:
        """The most bytes that the body may have. Raises Refusal where it states more, or is of another type, or there
        is no room for it.
        """
        path, stated = scope["path"], headers.get("content-length", "")
        if "transfer-encoding" not in headers and stated in ("", "0"):
            return 0
        expected = _expected_types(path)
        given = headers.get("content-type", "").partition(";")[0].strip().lower()
        if given not in expected:
            raise Refusal(415, f"Content-Type is {given[:100] or 'missing'!r}; it must be {' or '.join(expected)}.")
        is_upload = expected == [FILES]
        if is_upload and not stated:
            raise Refusal(411, "An upload has to say how large it is: Content-Length.")
        limit = self._max_upload_bytes if is_upload else MAX_API_BYTES if _is_api(path) else MAX_PAGE_BYTES
        if stated and not 0 <= int(stated) <= limit:
            raise Refusal(413, too_large(limit))
        if not is_upload and stated and self._at_once.bytes + int(stated) > MAX_BYTES_AT_ONCE:
            raise Refusal(503, BUSY)
        if is_upload and not has_room(int(stated)):
            raise Refusal(507, "The disk of this server is full. Please tell whoever runs it.")
        if is_upload and not self._uploaded.allows(address, int(stated)):
            raise Refusal(429, "Too much was uploaded from this address today.")
        return limit

    def _with_headers(self, scope: Scope, asked: Headers, send: Send) -> Send:
        """`send`, with what every answer says about itself."""
        origin = asked.get("origin", "")
        more = dict(self._headers)
        if "/file=" in scope["path"]:  # what visitors uploaded: shown, and nothing in it is run
            more["content-security-policy"] = FILE_POLICY
        if origin and self._names.trusts_origin(origin):
            more |= {**CORS_HEADERS, "access-control-allow-origin": origin, "vary": "Origin"}
            more["cross-origin-resource-policy"] = "cross-origin"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                MutableHeaders(scope=message).update(more)
            await send(message)

        return send_with_headers


def _cost(scope: Scope) -> float:
    """Of a request, where 1 is an ordinary one."""
    if scope["method"] == "POST" and scope["path"].rstrip("/").endswith("/login"):
        return LOGIN_COST
    return SCRIPT_COST if "/assets/" in scope["path"] else 1


def _is_api(path: str) -> bool:
    return API in path and PAGE_API not in path


def _expected_types(path: str) -> list[str]:
    if path.rstrip("/").endswith("/upload"):
        return [FILES]
    if path.rstrip("/").endswith("/login"):
        return [FORM, FILES]
    return [JSON]


def _refuse(refusal: Refusal, headers: Headers) -> Response:
    """A sentence for people, and for programs what Gradio's clients and OpenAI's each look for."""
    message, more = str(refusal), AGAIN if refusal.status == 429 else None
    if "text/html" in headers.get("accept", ""):
        return PlainTextResponse(message, refusal.status, more)
    kind = "rate_limit_error" if refusal.status == 429 else "invalid_request_error"
    error = {"message": message, "type": kind, "param": None, "code": None}
    return JSONResponse({"detail": message, "error": error}, refusal.status, more)


def _what_to_set(asked: str) -> str:
    name = _name_of(asked if "://" in asked else f"//{asked}") or "the.name.you.use"
    return f"Its owner can let it in: start the server with {HOSTS_VARIABLE}={name} in its environment."


def _name_of(url: str) -> str | None:
    """The name of the host in `url`, without a port; None where there is none."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _name_of_web(origin: str) -> str | None:
    return _name_of(origin) if origin.startswith(("http://", "https://")) else None


def _is_among(name: str, names: set[str]) -> bool:
    """Whether it is one of them, or below one that begins with a dot."""
    return name in names or any(entry[0] == "." and name.endswith(entry) for entry in names)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_same_origin(origin: str, host: str) -> bool:
    return origin.partition("://")[2].lower() == host.lower()
