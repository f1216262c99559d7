"""The body of one request, as it comes: no more of it than the request may have, no slower than people's networks are,
and of all bodies together no more than there is room for.

Counted is what has come, not what a request says that it will send: whoever states 90 MB and sends nothing keeps nobody
out. Files go to the disk as they come, so they are not among what is kept in memory.

Here: bytes, parts of an upload, entries of a page's JSON, which become thirty times as large when they are parsed; how
long all that may take. Not here: what a request may have (`adapters.request_guard`), what is in it
(`adapters.client_values`, `serving.request`). Noticed by tests/security/test_bodies.py and test_requests.py.
"""

import asyncio
import time
from collections import Counter

from fastapi import HTTPException
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from adapters.json_size import has_more_entries
from adapters.open_streams import visitor_address
from adapters.request_rate import is_loopback

MAX_BYTES_AT_ONCE = 256 << 20  # of all bodies that are being read, files apart
MAX_OF_ADDRESS = 128 << 20  # of these, from one address
MAX_PARTS = 40  # files of one upload
MAX_ENTRIES = 40_000  # of a page's JSON: twice what a handler takes (`adapters.client_values`)
# As in Apache's mod_reqtimeout: so many seconds, and one more for so many bytes that have come.
LEAST_S, LEAST_BYTES_PER_SECOND = 20, 1000

JSON, FILES = "application/json", "multipart/form-data"
BUSY = "Too many large requests are being read right now. Please try again in a minute."
TOO_SLOW = "This request came too slowly, or not at all."
TOO_MUCH_JSON = "This request holds more than a page sends."


class BytesAtOnce:
    """What is held of all bodies that are being read, and of each address."""

    def __init__(self):
        self.bytes = 0
        self._of_address: Counter[str] = Counter()

    def hold(self, address: str, more: int) -> bool:
        """Whether there is room for `more`; counts it all the same."""
        self.bytes += more
        self._of_address[address] += more
        is_too_much_of_one = self._of_address[address] > MAX_OF_ADDRESS and not is_loopback(address)
        return self.bytes <= MAX_BYTES_AT_ONCE and not is_too_much_of_one

    def release(self, address: str, less: int) -> None:
        self.bytes -= less
        self._of_address[address] -= less
        if not self._of_address[address]:
            del self._of_address[address]


class RequestBody:
    """limit: in bytes. is_api: JSON that is not a page's, and counted where it is parsed. How many bytes have come is
    in the scope, as "body_bytes".
    """

    def __init__(self, scope: Scope, receive: Receive, limit: int, at_once: BytesAtOnce, is_api: bool):
        given = Headers(scope=scope).get("content-type", "")
        self._scope, self._receive, self._limit, self._at_once = scope, receive, limit, at_once
        self._address = visitor_address(scope.get("client"))
        self._is_upload = given.lower().startswith(FILES)
        self._is_gathered = given.lower().startswith(JSON) and not is_api
        self._boundary = b"--" + parse_options_header(given)[1].get(b"boundary", b"")  # as Gradio finds it
        self._rest = b""  # of an upload, in which a boundary may have begun
        self._parts = self._held = 0
        self._began, self._is_whole = 0.0, False  # when the first piece was asked for; whether the last has come
        scope["body_bytes"] = 0

    async def receive(self) -> Message:
        """The next piece; of a page's JSON all of it. Raises HTTPException for what is too much or too slow."""
        if self._is_whole or not self._is_gathered:
            return await self._piece()
        text = bytearray()
        while not self._is_whole:
            message = await self._piece()
            if message["type"] != "http.request":
                return message
            text += message.get("body", b"")
        if has_more_entries(bytes(text), MAX_ENTRIES):
            raise HTTPException(413, TOO_MUCH_JSON)
        return {"type": "http.request", "body": bytes(text), "more_body": False}

    def until_answered(self, send: Send) -> Send:
        """`send`, which lets go of the body's share when the answer begins: then it was read."""

        async def send_and_release(message: Message) -> None:
            self.release()
            await send(message)

        return send_and_release

    def release(self) -> None:
        self._at_once.release(self._address, self._held)
        self._held = 0

    async def _piece(self) -> Message:
        if self._is_whole:  # what comes now is that the client has gone
            return await self._receive()
        self._began = self._began or time.monotonic()
        left = self._began + LEAST_S + self._scope["body_bytes"] / LEAST_BYTES_PER_SECOND - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, left))
        except TimeoutError:
            raise HTTPException(408, TOO_SLOW, {"connection": "close"}) from None
        self._is_whole = not message.get("more_body", False)
        self._count(message.get("body", b""))
        return message

    def _count(self, piece: bytes) -> None:
        self._scope["body_bytes"] += len(piece)
        if self._scope["body_bytes"] > self._limit:
            raise HTTPException(413, too_large(self._limit))
        if self._is_upload:
            self._count_parts(piece)
            return
        self._held += len(piece)
        if not self._at_once.hold(self._address, len(piece)):
            raise HTTPException(503, BUSY)

    def _count_parts(self, piece: bytes) -> None:
        searched = self._rest + piece
        self._parts += searched.count(self._boundary)
        end = searched.rfind(self._boundary)
        searched = searched[end + len(self._boundary) :] if end >= 0 else searched
        self._rest = searched[-(len(self._boundary) - 1) :]
        if self._parts > MAX_PARTS + 1:  # one more ends the last
            raise HTTPException(413, f"One upload can have {MAX_PARTS} files.")


def too_large(limit: int) -> str:
    return f"A request can have {limit >> 20} MB here."
