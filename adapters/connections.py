"""How many connections one address may have to a server of ours, and how long one may stay open without a request.

uvicorn (0.54) waits for ever for the rest of a request's header, and its `limit_concurrency` counts all visitors
together, so that whoever opens most keeps the others out. Here, for whichever protocol class uvicorn takes:

    - a header has to come within HEADER_S of the connection or of the answer before it;
    - one address has MAX_OF_ADDRESS connections at most; what is beyond is closed before anything is read.

This machine itself is not counted, because a proxy on it brings everybody. Not here: a body's pace
(`adapters.request_body`), streams (`adapters.open_streams`). Noticed by tests/security/test_connections.py.
"""

import asyncio
from collections import Counter

from adapters.open_streams import visitor_address
from adapters.request_rate import is_loopback

HEADER_S = 20
MAX_OF_ADDRESS = 600  # six of each browser of a class behind one address, and those of programs


def bounded(protocol: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    """A subclass of `protocol`, one of uvicorn's for HTTP, for one server."""
    opened: Counter[str] = Counter()

    class Bounded(protocol):
        _waiting: asyncio.TimerHandle | None = None  # for a header
        _counted = ""

        def connection_made(self, transport) -> None:
            super().connection_made(transport)
            address = visitor_address(self.client)
            if address and not is_loopback(address):
                if opened[address] >= MAX_OF_ADDRESS:
                    return transport.abort()
                opened[address] += 1
                self._counted = address
            self._watch()

        def connection_lost(self, error) -> None:
            if self._waiting:
                self._waiting.cancel()
            if self._counted:
                opened[self._counted] -= 1
                if not opened[self._counted]:
                    del opened[self._counted]
            super().connection_lost(error)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def on_response_complete(self, *args) -> None:
            super().on_response_complete(*args)
            self._watch()

        def _watch(self) -> None:
            """Wait for a header unless one has come."""
            cycle = getattr(self, "cycle", None)
            if cycle is not None and not cycle.response_complete:
                if self._waiting:
                    self._waiting.cancel()
                self._waiting = None
            elif self._waiting is None:
                self._waiting = self.loop.call_later(HEADER_S, self.transport.abort)

    return Bounded
