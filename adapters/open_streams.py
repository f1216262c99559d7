"""Which of a page's tabs and events somebody listens to: a connection to Gradio's server is open for them now.

A session's name is made up by the client that uses it, so a name alone says nothing: a program may send a thousand.
What a tab has, and a name that was made up does not, is a connection that stays open. Gradio 6.31's clients open

    gradio_api/heartbeat/SESSION              for as long as a tab is there
    gradio_api/queue/data?session_hash=…      while a tab waits for an answer
    gradio_api/call/ENDPOINT/EVENT            the same for a program

Noticed by tests/security/test_tabs.py and test_queue.py.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable
from urllib.parse import parse_qs

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

TAB = re.compile(r"/gradio_api/heartbeat/([^/]+)$")
EVENT = re.compile(r"/gradio_api/call/(?:v2/)?[^/]+/([^/]+)$")
MAX_OF_ADDRESS = 500  # open at once: two for each tab of a class that comes through one proxy
TOO_MANY = "Too many connections from this address are open. Please close some tabs, and try again."
UNKNOWN_SESSION = (
    'data: {"msg":"unexpected_error","event_id":null,"message":"404: Not Found",'
    '"session_not_found":true,"success":false}\n\n'
)
UNKNOWN_EVENT = 'event: error\ndata: "404: Not Found"\n\n'


class OpenStreams:
    """Around Gradio's server: `OpenStreams()(app)` is the app with all of its streams counted."""

    def __init__(self):
        self._tabs: Counter[str] = Counter()
        self._heard: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()

    def has_tab(self, session: str) -> bool:
        """Whether a tab of this session is open."""
        return self._tabs[session] > 0

    def hears(self, session: str, event: str) -> bool:
        """Whether somebody waits for what comes of an event."""
        return self._heard[session] > 0 or self._heard[event] > 0

    def __call__(self, app: ASGIApp, is_known: Callable[[str], bool] = lambda name: True) -> ASGIApp:
        """is_known: whether there may be something to hear for a session or an event. For others Gradio answers this
        very text, and writes a page of traceback to the log.
        """

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            counter, name = self._counter(scope)
            if not name:
                return await app(scope, receive, send)
            address = visitor_address(scope.get("client"))
            if counter is self._heard and not is_known(name):
                text = UNKNOWN_EVENT if EVENT.search(scope["path"]) else UNKNOWN_SESSION
                return await Response(text, media_type="text/event-stream")(scope, receive, send)
            if self._addresses[address] >= MAX_OF_ADDRESS:
                return await JSONResponse({"detail": TOO_MANY}, 429)(scope, receive, send)
            counts = [(counter, name), (self._addresses, address)]
            for counter, name in counts:
                counter[name] += 1
            try:
                await app(scope, receive, send)
            finally:
                for counter, name in counts:
                    counter[name] -= 1
                    if not counter[name]:
                        del counter[name]

        return counted

    def _counter(self, scope: Scope) -> tuple[Counter, str]:
        """Where a request is counted, and under which name; "" for one that opens no stream."""
        path = scope.get("path", "")
        if scope["type"] != "http" or scope["method"] != "GET":
            return self._heard, ""
        if tab := TAB.search(path):
            return self._tabs, tab[1]
        if path.endswith("/gradio_api/queue/data"):
            return self._heard, parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
        event = EVENT.search(path)
        return self._heard, event[1] if event else ""


def visitor_address(client) -> str:
    """What tells visitors apart as far as that can be told: the address, of IPv6 the network that a household has.

    client: (host, port) or what Starlette makes of it, None where the server does not know.
    """
    host = client[0] if client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4 or address.is_loopback or address.is_link_local:
        return host.partition("%")[0]
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False).network_address)
