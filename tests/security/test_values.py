"""Values that no page sends: nothing is fetched from an address wherever it stands, text is text (H5, M5).

Each input of each handler of a served page gets the worst of them, through the queue as from a browser.
"""

import json
import uuid

import gradio as gr
import httpx
import pytest

from adapters.client_values import MAX_DEPTH, MAX_ENTRIES, UPLOADED_ONLY, checked
from tests.test_gradio_helper import ask, client_of, prompts
from tests.test_gradio_helper import echo_page as page

__all__ = ["page"]  # a fixture

URL = "https://example.com/a.png"
FILE = {"path": URL, "meta": {"_type": "gradio.FileData"}}
MESSAGE = {"text": "hi", "files": []}
VALUES = {
    "the file itself": FILE,
    "a message": {"text": "See", "files": [FILE]},
    "an outer key": {"text": "See", "path": "x", "files": [FILE]},
    "another file around it": {"text": "See", "files": [{"path": "x", "meta": FILE["meta"], "more": FILE}]},
    "a path that is a file": {"text": "See", "files": [{"path": FILE, "meta": FILE["meta"]}]},
    "deep in lists": [[[[[[FILE]]]]]],
    "capitals": {"text": "See", "files": [{**FILE, "path": URL.replace("https", "HTTPS")}]},
    "another scheme": {"text": "See", "files": [{**FILE, "path": "ftp://example.com/a.png"}]},
    "browser's": {"server": "x", "messages": [["user", FILE]]},
}


@pytest.fixture
def fetched(monkeypatch) -> list[str]:
    """Addresses that Gradio wanted to fetch."""
    urls = []

    async def fetch(url, *args, **kwargs):
        urls.append(url)
        raise AssertionError("fetched")

    monkeypatch.setattr("gradio.processing_utils.async_ssrf_protected_download", fetch)
    return urls


def result(page, fn: int, data: list) -> dict:
    """What the queue says of a request of a browser's: {"success": bool, "output": …}."""
    session = {"session_hash": uuid.uuid4().hex}
    http = httpx.Client(base_url=f"{page.local_url}gradio_api", timeout=30)
    http.post("/queue/join", json={"data": data, "fn_index": fn, **session}).raise_for_status()
    with http.stream("GET", "/queue/data", params=session) as stream:
        events = (json.loads(line.removeprefix("data:")) for line in stream.iter_lines() if line)
        return next(event for event in events if event["msg"] == "process_completed")


@pytest.mark.parametrize("component", [gr.MultimodalTextbox, gr.Textbox, gr.Slider, gr.UploadButton, gr.JSON])
@pytest.mark.parametrize("name", VALUES)
def test_an_address_is_refused_at_any_depth_whatever_it_is_given_to(component, name):
    with pytest.raises(gr.Error) as refusal:
        checked(component(), VALUES[name])
    assert refusal.value.message == UPLOADED_ONLY


@pytest.mark.parametrize("name", ["an outer key", "the file itself"])
def test_no_handler_fetches_anything_for_any_of_its_inputs(page, fetched, name):
    page.model.calls.clear()
    given = 0
    for number, handler in page.fns.items():
        for position, component in enumerate(handler.inputs):
            if isinstance(component, gr.State) or handler.fn is None:
                continue
            data = [getattr(other, "value", None) if not other.stateful else None for other in handler.inputs]
            data[position] = VALUES[name]
            result(page, number, data)
            given += 1
    assert given > 20
    assert (fetched, page.model.calls) == ([], [])


def test_the_endpoint_says_what_is_wrong(page, fetched):
    (chat,) = [number for number, handler in page.fns.items() if handler.api_name == "chat"]
    for name in ("a message", "an outer key", "another file around it", "a path that is a file", "capitals"):
        answer = result(page, chat, [VALUES[name], "", 0, 256, 1, 0, 64, "Automatic", "", None])
        assert (answer["success"], answer["output"]["error"]) == (False, UPLOADED_ONLY)
    assert fetched == []


@pytest.mark.parametrize(("settings", "says"), [
    ({"system_prompt": "x" * 20_000}, "System prompt: 20000 characters; at most 4000."),
    ({"system_prompt": {"path": "x", "file": "y"}}, "must be text"), ({"system_prompt": 7}, "must be text"),
    ({"temperature": "hot"}, "must be a number"), ({"max_tokens": True}, "must be a number"),
])  # fmt: skip
def test_settings_of_another_kind_are_refused_in_words(page, settings, says):
    from gradio_client.exceptions import AppError

    page.model.calls.clear()
    with pytest.raises(AppError, match=says):
        ask(client_of(page), "hi", **settings)
    assert page.model.calls == []


def test_a_setting_that_is_missing_is_as_on_the_page(page):
    page.model.calls.clear()
    none = dict.fromkeys(["system_prompt", "temperature", "max_tokens", "seed", "visual_tokens"])
    assert ask(client_of(page), "hi", **none) == "hi"
    assert "system" not in prompts(page.model)[0]


@pytest.mark.parametrize(
    "value", [7, "text", ["text"], {"text": ["x"]}, {"files": "x"}, {"files": ["x"]}, {"files": [{}]}]
)
def test_a_message_of_another_shape_is_told_how_it_should_be(value):
    with pytest.raises(gr.Error, match="A message is"):
        checked(gr.MultimodalTextbox(), value)


def test_a_message_is_two_entries_and_no_more():
    assert checked(gr.MultimodalTextbox(), {"text": "a", "files": None, "path": "x"}) == {"text": "a", "files": []}
    assert checked(gr.MultimodalTextbox(), None) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_json_calls_a_number_and_is_none_is_refused(value):
    with pytest.raises(gr.Error, match="must be a number"):
        checked(gr.Number(label="Seed"), value)


@pytest.mark.parametrize("value", ["[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"[{'0,' * MAX_ENTRIES}0]"])
def test_what_is_too_deep_or_too_much_is_refused_without_looking_through_it_all(value):
    with pytest.raises(gr.Error, match="more than a page sends"):
        checked(gr.JSON(), json.loads(value))
