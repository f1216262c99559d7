"""One address that sends as fast as it can is refused, slowly; others, and this machine, are answered as before."""

import asyncio
import time

import httpx
import pytest

from adapters import request_rate
from adapters.open_streams import visitor_address
from adapters.request_rate import RequestRate, Turns
from tests.fake_model import echoing, fake_processor
from tests.test_gradio_helper import served

A, B = "192.0.2.7", "192.0.2.8"
HEADERS = {"x-forwarded-for": A}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(request_rate, "BURST", 20)
    monkeypatch.setattr(request_rate, "PER_SECOND", 2)
    monkeypatch.setattr(request_rate, "HELD_UP_S", 0.3)


def test_a_bucket_empties_fills_again_and_is_of_one_address(few):
    clock = Clock()
    rate = RequestRate(clock)
    assert [rate.allows(A) for _ in range(25)] == [True] * 20 + [False] * 5
    assert rate.allows(B)
    clock.now += 2
    assert [rate.allows(A) for _ in range(5)] == [True] * 4 + [False]
    clock.now += 1000
    assert sum(rate.allows(A) for _ in range(50)) == 20


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", ""])
def test_this_machine_is_not_counted(few, address):
    rate = RequestRate(Clock())
    assert all(rate.allows(address) for _ in range(100))


def test_however_many_addresses_there_are_few_are_remembered(few, monkeypatch):
    monkeypatch.setattr(request_rate, "MAX_ADDRESSES", 50)
    rate = RequestRate(Clock())
    for number in range(500):
        rate.allows(f"2001:db8:{number}:0")
    assert len(rate._buckets) == 50


def test_refusals_are_late_and_only_so_many_wait(few, monkeypatch):
    monkeypatch.setattr(request_rate, "MAX_HELD_UP", 3)
    rate = RequestRate(Clock())

    async def seconds() -> float:
        began = time.monotonic()
        await rate.hold_up(A)
        return time.monotonic() - began

    async def all_at_once() -> list[float]:
        return await asyncio.gather(*[seconds() for _ in range(5)])

    took = asyncio.run(all_at_once())
    assert sorted(wait > 0.25 for wait in took) == [False, False, True, True, True]
    assert not rate._held_up


@pytest.mark.parametrize(("address", "visitor"), [
    ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8::1", "2001:db8::"), ("::1", "::1"),
    ("2001:db8::2:3", "2001:db8::"), ("2001:db8:0:1::1", "2001:db8:0:1::"), ("fe80::1%eth0", "fe80::1"), ("a", "a"),
])  # fmt: skip
def test_one_household_is_one_visitor_however_its_addresses_are_written(address, visitor):
    assert visitor_address((address, 1)) == visitor and visitor_address(None) == ""


def test_requests_of_one_address_take_turns_and_others_have_theirs():
    turns, here, most = Turns(2), {A: 0, B: 0, "127.0.0.1": 0}, {}

    async def request(address: str) -> None:
        async with turns.turn(address):
            here[address] += 1
            most[address] = max(most.get(address, 0), here[address])
            await asyncio.sleep(0)
            here[address] -= 1

    async def all_at_once() -> None:
        await asyncio.gather(*[request(address) for address in here for _ in range(7)])

    asyncio.run(all_at_once())
    assert most == {A: 2, B: 2, "127.0.0.1": 7}
    assert not turns._here and not turns._turns


def test_passwords_cost_more_than_other_requests(monkeypatch):
    monkeypatch.setattr(request_rate, "BURST", 3 * request_rate.LOGIN_COST)
    monkeypatch.setattr(request_rate, "PER_SECOND", 0)
    monkeypatch.setattr(request_rate, "HELD_UP_S", 0.1)
    wrong = {"username": "a", "password": "c"}
    with served(echoing(fake_processor()), auth=("a", "b")) as demo:
        tried = [httpx.post(f"{demo.local_url}login", data=wrong, headers=HEADERS) for _ in range(4)]
    assert [answer.status_code for answer in tried] == [400, 400, 400, 429]


@pytest.mark.parametrize("path", ["config", "v1/models"])
def test_a_flood_is_refused_and_the_others_are_answered(few, monkeypatch, path):
    monkeypatch.setattr(request_rate, "PER_SECOND", 0)
    with served(echoing(fake_processor())) as demo, httpx.Client(base_url=demo.local_url) as client:
        flood = [client.get(path, headers={"x-forwarded-for": A}) for _ in range(24)]
        assert {answer.status_code for answer in flood[:20]} <= {200, 404}
        refused = flood[-1]
        assert (refused.status_code, refused.headers["connection"]) == (429, "close")
        assert int(refused.headers["retry-after"]) > 0
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert "Please wait" in refused.json()["detail"]
        for headers in ({"x-forwarded-for": B}, {}):
            assert client.get(path, headers=headers).status_code == flood[0].status_code
