"""How many requests one address may send: a token bucket for each (https://en.wikipedia.org/wiki/Token_bucket).

    rate = RequestRate()
    rate.allows("192.0.2.7")        # True, and one request less is left of BURST
    await rate.hold_up("192.0.2.7")  # before a refusal, so that whoever sends one after the other sends few

A refusal is cheap, but whoever gets it at once asks again at once: so it comes late. This machine itself is not
counted: what comes from it is the owner, or a proxy that does not say for whom it asks.

Not here: turns at the model (`adapters.fair_queue`, `session.scheduler`), open connections (`adapters.open_streams`).
Noticed by tests/security/test_rate.py.
"""

import asyncio
import contextlib
import ipaddress
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable

# Opening the page takes about a hundred requests the first time, nearly all for its scripts, which cost a tenth; typing
# takes a few a second. A class of thirty behind one address can do both at once.
BURST, PER_SECOND = 1500, 100
SCRIPT_COST = 0.1
LOGIN_COST = 50  # two passwords a second
HELD_UP_S = 2.0
MAX_HELD_UP = 200  # refusals of one address that wait at once; those beyond go out at once
MAX_ADDRESSES = 10_000  # that are remembered: whoever did not ask for the longest time is forgotten


class TokenBuckets:
    """One for each address: `burst` at once, `per_second` more as time goes by. clock: seconds that never go back."""

    def __init__(self, burst: float, per_second: float, clock: Callable[[], float] = time.monotonic):
        self._burst, self._per_second, self._clock = burst, per_second, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # (what is left, when)

    def allows(self, address: str, cost: float = 1) -> bool:
        """Whether `address` may have that much more; counts it."""
        if not address or is_loopback(address):
            return True
        now = self._clock()
        left, at = self._buckets.pop(address, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_second)
        allowed = left >= cost
        self._buckets[address] = left - cost * allowed, now
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return allowed


class RequestRate(TokenBuckets):
    """Of requests."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        super().__init__(BURST, PER_SECOND, clock)
        self._held_up: Counter[str] = Counter()

    async def hold_up(self, address: str) -> None:
        """Wait before a refusal."""
        if self._held_up[address] >= MAX_HELD_UP:
            return
        self._held_up[address] += 1
        try:
            await asyncio.sleep(HELD_UP_S)
        finally:
            self._held_up[address] -= 1
            if not self._held_up[address]:
                del self._held_up[address]


class Turns:
    """No more than `most` requests of one address at once; the others wait, and beyond MAX_HELD_UP they are refused."""

    def __init__(self, most: int):
        self._most = most
        self._here: Counter[str] = Counter()
        self._turns: dict[str, asyncio.Semaphore] = {}

    def has_room(self, address: str) -> bool:
        return self._here[address] < MAX_HELD_UP

    @contextlib.asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        if not address or is_loopback(address):
            yield
            return
        self._here[address] += 1
        try:
            async with self._turns.setdefault(address, asyncio.Semaphore(self._most)):
                yield
        finally:
            self._here[address] -= 1
            if not self._here[address]:
                del self._here[address], self._turns[address]


def is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:  # the network of an IPv6 address
        return False
