"""Who may ask a page of ours, and how much at once: the outermost ASGI layer around Gradio's server, and around the API
that is mounted into it.

    RequestGuard(app, TrustedNames("hub.example.org"), check_host=True)

A browser sends to a server on its own machine what any web site tells it to. So, before anything is read:

    how often        `adapters.request_rate`, for each address
    Host             only this machine's names, where the page is for this machine alone: a site whose name leads here
                     (DNS rebinding) gets nothing
    Origin           a page from elsewhere may not ask, post or upload, whatever the Host
    Content-Type     JSON is called JSON; a browser sends text/plain across sites without asking first
    the body         bounded for each request and for all together; files say beforehand how large they are

Every answer says that only its own origin is loaded from, sent to, and shown around it (`page_policy`). Refusals say
what to set: PAGE_HOSTS, for people behind a proxy, JupyterHub or Codespaces.

Not here: what the page does with a request (`chat_page`), passwords (Gradio's `auth`, `serving`), TLS, which is the
proxy's. Noticed by tests/security/test_requests.py.
"""

import ipaddress
import re
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.open_streams import visitor_address
from adapters.request_rate import SCRIPT_COST, RequestRate

HOSTS_VARIABLE = "PAGE_HOSTS"
# Names that lead to this machine wherever they are looked up. The last one is Docker's, for a container's host; no name
# below `.internal` can be had on the internet.
OWN_NAMES = ("localhost", "host.docker.internal")
FRAMES = "http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:* vscode-webview:"  # of notebooks

API = "/v1/"  # where an API is mounted into the page
MAX_PAGE_BYTES = 8 << 20  # of a request's body: more than what a browser stores of a conversation
MAX_API_BYTES = 96 << 20  # pictures are inside
MAX_BYTES_AT_ONCE = 256 << 20  # of all bodies that are being read, files apart
MAX_PARTS = 40  # files and fields of one upload

JSON, FILES, FORM = "application/json", "multipart/form-data", "application/x-www-form-urlencoded"
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
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
    """check_host: the page is for this machine alone, without a password. max_upload_bytes: of one upload."""

    def __init__(self, app: ASGIApp, names: TrustedNames, *, check_host: bool, max_upload_bytes: int):
        self._app = app
        self._names = names
        self._check_host = check_host
        self._max_upload_bytes = max_upload_bytes
        self._bytes_at_once = 0
        self._rate = RequestRate()
        self._headers = {
            "content-security-policy": page_policy(names),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": "geolocation=(), payment=(), usb=(), serial=(), bluetooth=()",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        send = self._with_headers(scope, headers, send)
        address = visitor_address(scope.get("client"))
        if not self._rate.allows(address, SCRIPT_COST if "/assets/" in scope["path"] else 1):
            await self._rate.hold_up(address)
            return await _refuse(Refusal(429, TOO_OFTEN), headers)(scope, receive, send)
        try:
            self._check_sender(scope, headers)
            if scope["method"] == "OPTIONS" and "origin" in headers:
                return await Response(status_code=204)(scope, receive, send)
            limit = self._check_body(scope, headers)
        except Refusal as refusal:
            return await _refuse(refusal, headers)(scope, receive, send)
        body = _Body(self, receive, limit, headers)
        try:
            await self._app(scope, body.receive, body.until_answered(send))
        finally:
            body.release()

    # ---- who asks ------------------------------------------------------------------------------------------------

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

    def _check_body(self, scope: Scope, headers: Headers) -> int:
        """The most bytes that the body may have. Raises Refusal where it states more, or is of another type."""
        path, stated = scope["path"], headers.get("content-length", "")
        has_body = "transfer-encoding" in headers or stated not in ("", "0")
        if scope["method"] not in CHANGING or not has_body:
            return 0 if not has_body else MAX_PAGE_BYTES
        expected = _expected_types(path)
        given = headers.get("content-type", "").partition(";")[0].strip().lower()
        if given not in expected:
            raise Refusal(415, f"Content-Type is {given[:100] or 'missing'!r}; it must be {' or '.join(expected)}.")
        is_upload = expected == [FILES]
        if is_upload and not stated:
            raise Refusal(411, "An upload has to say how large it is: Content-Length.")
        limit = self._max_upload_bytes if is_upload else MAX_API_BYTES if API in path else MAX_PAGE_BYTES
        if stated and not 0 <= int(stated) <= limit:
            raise Refusal(413, _too_large(limit))
        if stated and not is_upload and self._bytes_at_once + int(stated) > MAX_BYTES_AT_ONCE:
            raise Refusal(503, "Too many large requests are being read right now. Please try again in a minute.")
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


class _Body:
    """One request's body, counted as it comes: no more than `limit`, and no more parts than MAX_PARTS."""

    def __init__(self, guard: RequestGuard, receive: Receive, limit: int, headers: Headers):
        self._guard, self._receive, self._limit = guard, receive, limit
        self._bytes = self._parts = self._held = 0
        given = headers.get("content-type", "")
        self._is_upload = given.lower().startswith(FILES)
        self._boundary = b"--" + given.partition("boundary=")[2].partition(";")[0].strip('" ').encode("latin-1")
        self._rest = b""
        if not self._is_upload:
            self._hold(int(headers.get("content-length") or 0))

    async def receive(self) -> Message:
        message = await self._receive()
        piece = message.get("body", b"")
        self._bytes += len(piece)
        if self._bytes > self._limit:
            raise HTTPException(413, _too_large(self._limit))
        if self._is_upload:
            self._count_parts(piece)
        elif self._bytes > self._held:
            self._hold(self._bytes - self._held)
        return message

    def _count_parts(self, piece: bytes) -> None:
        searched = self._rest + piece
        self._parts += searched.count(self._boundary)
        end = searched.rfind(self._boundary)
        searched = searched[end + len(self._boundary) :] if end >= 0 else searched
        self._rest = searched[-(len(self._boundary) - 1) :]
        if self._parts > MAX_PARTS + 1:  # one more ends the last
            raise HTTPException(413, f"One upload can have {MAX_PARTS} files.")

    def _hold(self, more: int) -> None:
        self._held += more
        self._guard._bytes_at_once += more
        if self._guard._bytes_at_once > MAX_BYTES_AT_ONCE:
            raise HTTPException(503, "Too many large requests are being read right now. Please try again in a minute.")

    def until_answered(self, send: Send) -> Send:
        """`send`, which lets go of the body's share when the answer begins: then it was read."""

        async def send_and_release(message: Message) -> None:
            self.release()
            await send(message)

        return send_and_release

    def release(self) -> None:
        self._guard._bytes_at_once -= self._held
        self._held = 0


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


def _too_large(limit: int) -> str:
    return f"A request can have {limit >> 20} MB here."


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
