"""Connections on which nothing is asked are closed, and one address has so many and no more."""

import asyncio
import socket

import httpx
import pytest

from adapters import connections
from adapters.connections import bounded
from tests.fake_model import echoing, fake_processor
from tests.test_gradio_helper import served

A, B = "192.0.2.7", "192.0.2.8"


@pytest.mark.parametrize("sent", ["", "GET / HTTP/1.1\r\nHost: ", "GET /config HTTP/1.1\r\nHost: localhost\r\n\r\nG"])
def test_a_header_that_does_not_come_is_not_waited_for(monkeypatch, sent):
    monkeypatch.setattr(connections, "HEADER_S", 0.3)
    with served(echoing(fake_processor())) as demo:
        url = httpx.URL(demo.local_url)
        with socket.create_connection((url.host, url.port), timeout=30) as connection:
            connection.sendall(sent.encode())
            try:
                while connection.recv(65536):
                    pass
            except ConnectionResetError:
                pass
        assert httpx.get(demo.local_url).status_code == 200


def test_an_answer_takes_as_long_as_it_takes(monkeypatch):
    monkeypatch.setattr(connections, "HEADER_S", 0.1)
    model = echoing(fake_processor())
    with served(model) as demo, httpx.stream("GET", f"{demo.local_url}gradio_api/heartbeat/x") as stream:
        beats = stream.iter_raw()
        next(beats)
        assert httpx.get(f"{demo.local_url}gradio_api/upload_progress?upload_id=x", timeout=30).status_code == 404
        assert httpx.get(demo.local_url).status_code == 200
        assert not stream.is_closed


class Transport:
    aborted = False

    def abort(self) -> None:
        self.aborted = True


class Protocol(asyncio.Protocol):
    """As much of uvicorn's as is looked at."""

    def __init__(self, address: str, loop):
        self.client, self.loop = (address, 1), loop

    def connection_made(self, transport) -> None:
        self.transport = transport


def test_one_address_has_so_many_connections_and_others_have_theirs(monkeypatch):
    monkeypatch.setattr(connections, "MAX_OF_ADDRESS", 2)
    kind, loop = bounded(Protocol), asyncio.new_event_loop()

    def connect(address: str) -> Protocol:
        protocol = kind(address, loop)
        protocol.connection_made(Transport())
        return protocol

    first, *others = [connect(A) for _ in range(4)]
    assert [one.transport.aborted for one in (first, *others)] == [False, False, True, True]
    for refused in others[1:]:
        refused.connection_lost(None)
    assert not connect(B).transport.aborted and not connect("127.0.0.1").transport.aborted
    assert connect(A).transport.aborted
    first.connection_lost(None)
    assert not connect(A).transport.aborted
    loop.close()
