"""Bodies of requests: counted before they are parsed, and none that is only announced keeps others out."""

import asyncio
import contextlib
import json
import socket

import httpx
import pytest
from fastapi import HTTPException

from adapters import request_body
from adapters.json_size import has_more_entries
from adapters.request_body import MAX_ENTRIES, MAX_PARTS, BytesAtOnce, RequestBody
from tests.security.test_queue import Visitor
from tests.test_gradio_helper import echo_page as page

__all__ = ["page"]  # a fixture

A, B = "192.0.2.7", "192.0.2.8"
MB = 1 << 20


@contextlib.contextmanager
def sent(page, text: str):
    """A connection on which `text`, the beginning of a request, was sent."""
    url = httpx.URL(page.local_url)
    with socket.create_connection((url.host, url.port), timeout=30) as connection:
        connection.sendall(text.format(host=f"{url.host}:{url.port}").replace("\n", "\r\n").encode())
        yield connection


def is_answered(page, address: str = A) -> bool:
    visitor = Visitor(page, address)
    visitor.join("hello").raise_for_status()
    return visitor.answers() == ["hello"]


def test_a_body_that_a_link_announces_is_refused_and_nobody_is_kept_out(page):
    with sent(page, "GET / HTTP/1.1\nHost: {host}\nContent-Length: 999999999999\n\n") as connection:
        assert connection.recv(12) == b"HTTP/1.1 415"
    assert is_answered(page)


def test_bodies_that_are_announced_and_do_not_come_keep_nobody_out(page):
    announced = f"POST /v1/chat/completions HTTP/1.1\nHost: {{host}}\nX-Forwarded-For: {A}\n"
    announced += f"Content-Type: application/json\nContent-Length: {90 * MB}\n\n{{{{"
    with contextlib.ExitStack() as open_:
        for _ in range(5):
            open_.enter_context(sent(page, announced))
        assert is_answered(page, B) and is_answered(page, A)


def test_one_address_holds_half_of_what_there_is_room_for():
    at_once = BytesAtOnce()
    assert at_once.hold(A, 100 * MB) and not at_once.hold(A, 100 * MB)
    assert at_once.hold(B, 20 * MB)
    at_once.release(A, 200 * MB)
    assert at_once.hold(A, 100 * MB) and at_once.bytes == 120 * MB


def pieces(*given: bytes):
    """A receive of an ASGI server that has these pieces of a body, and then waits."""
    left = list(given)

    async def receive():
        if not left:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": left.pop(0), "more_body": True}

    return receive


def test_a_body_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(request_body, "LEAST_S", 0.05)
    monkeypatch.setattr(request_body, "LEAST_BYTES_PER_SECOND", 1000)
    scope = {"type": "http", "headers": [(b"content-type", b"application/json")], "client": (A, 1)}
    body = RequestBody(scope, pieces(b"[", b"1"), 100, BytesAtOnce(), is_api=False)
    with pytest.raises(HTTPException) as refusal:
        asyncio.run(body.receive())
    assert (refusal.value.status_code, scope["body_bytes"]) == (408, 2)


# ---- JSON -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "entries"), [
    ("[]", 1), ("[[],[]]", 4), ('{"a": [1, 2], "b": "[,{"}', 4), (r'["\"", [], []]', 5), (r'["\\", "[[[["]', 2),
    (r'["a\\\"[", "["]', 2), ("7", 0),
])  # fmt: skip
def test_entries_are_counted_outside_of_strings(text, entries):
    assert json.loads(text) is not None
    assert not has_more_entries(text.encode(), entries)
    assert entries == 0 or has_more_entries(text.encode(), entries - 1)


def test_what_is_no_json_in_utf_8_is_too_much():
    hidden = json.dumps(['"', *[[]] * 100]).encode("utf-16")
    assert len(json.loads(hidden)) == 101 and has_more_entries(hidden, 1000)
    assert has_more_entries(b'""' * 1000, 100)


@pytest.mark.parametrize("path", ["gradio_api/queue/join", "gradio_api/call/chat", "gradio_api/run/chat"])
def test_a_pages_json_is_counted_before_it_is_parsed(page, path):
    many = b'{"data": [' + b"[]," * MAX_ENTRIES + b'[]], "fn_index": 0, "session_hash": "x"}'
    before = len(page._queue)
    answer = httpx.post(page.local_url + path, content=many, headers={"content-type": "application/json"})
    assert answer.status_code == 413 and len(page._queue) == before


def test_no_name_makes_a_pages_json_an_apis(page):
    large = b'{"data": ["' + b"x" * (9 * MB) + b'"]}'
    answer = httpx.post(
        f"{page.local_url}gradio_api/call/v1/", content=large, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413


# ---- uploads --------------------------------------------------------------------------------------------------------


def test_parts_are_counted_by_the_boundary_that_gradio_finds(page):
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx\r\n'
    answer = httpx.post(
        f"{page.local_url}gradio_api/upload",
        content=part * (MAX_PARTS + 1) + b"--b--\r\n",
        headers={"content-type": "multipart/form-data; x=boundary=other; boundary=b"},
    )
    assert answer.status_code == 413
