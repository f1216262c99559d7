"""A conversation belongs to a tab that is open: session names that somebody makes up throw nobody's out."""

import time
import uuid

import httpx
import pytest

from tests.fake_model import echoing, fake_processor
from tests.security.test_queue import Visitor
from tests.test_gradio_helper import served

PROCESSOR = fake_processor()
CAPACITY = 10


@pytest.fixture
def page():
    model = echoing(PROCESSOR)
    with served(model, state_session_capacity=CAPACITY) as demo:
        demo.model = model
        yield demo


def test_made_up_names_throw_nobodys_conversation_out(page):
    visitor = Visitor(page)
    with visitor.http.stream("GET", f"/heartbeat/{visitor.session}") as heartbeat:  # as an open tab has one
        beats = heartbeat.iter_raw()  # closed when it is collected
        next(beats)
        visitor.join("remember me")
        assert visitor.answers() == ["remember me"]
        for number in range(3 * CAPACITY):
            stranger = Visitor(page)
            stranger.join(f"stranger {number}")
            stranger.answers()
        visitor.join("again")
        assert visitor.answers() == ["again"]
    assert "remember me" in PROCESSOR.tokenizer.decode(page.model.calls[-1]["input_ids"][0])
    assert len(page.app.state_holder.session_data) <= CAPACITY + 1


def test_one_address_cannot_open_streams_without_end(page, monkeypatch):
    monkeypatch.setattr("adapters.open_streams.MAX_OF_ADDRESS", 2)
    visitor, opened = Visitor(page), []
    try:
        for _ in range(2):
            opened.append(visitor.http.stream("GET", f"/heartbeat/{uuid.uuid4().hex}"))
            opened[-1].__enter__()
        refusal = visitor.http.get(f"/heartbeat/{uuid.uuid4().hex}")
        assert refusal.status_code == 429 and "close some tabs" in refusal.json()["detail"]
    finally:
        for stream in opened:
            stream.__exit__(None, None, None)
    for _ in range(50):
        with httpx.stream("GET", f"{page.local_url}gradio_api/heartbeat/{uuid.uuid4().hex}") as again:
            if again.status_code == 200:
                return
        time.sleep(0.1)
    pytest.fail("what was closed still counts")


def test_a_name_that_nobody_gives_himself_is_not_kept(page):
    visitor, long = Visitor(page), "s" * 1000
    assert visitor.join("hello", long).status_code == 400
    load = next(number for number, fn in page.fns.items() if fn.name == "come_back")
    asked = {"data": [None, None, None], "fn_index": load, "session_hash": long}
    assert visitor.http.post("/run/predict", json=asked).status_code == 400
    assert visitor.http.post("/run/predict", json={**asked, "session_hash": "short"}).status_code == 200
    assert long not in page.app.state_holder.session_data and long not in page._queue.pending_messages_per_session
