"""The API over a session in this process, as OpenAI's clients and careless ones ask it; without Ray.

Most of it goes to a session that notes what it was asked: what a request becomes, what an answer looks like. The last
part goes to the practice model, over a real port, with the `openai` package. Replicas are tests/serving's subject.
"""

import base64
import io
import json
import threading
import time
import urllib.parse

import httpx
import openai
import pytest
from PIL import Image
from starlette.testclient import TestClient

from adapters.qwen_vl import PIXELS_PER_TOKEN
from chat_session import ChatSession, MediaError, SessionError
from serving.api import guarded, model_name
from serving.errors import BusyError, LostError
from serving.openai_api import MAX_OF_ONE_VISITOR, add_api, make_api
from serving.request import parse
from session.answer import Answer, AnswerState
from session.scheduler import group_of
from tests.asgi import listening
from tests.written_answers import WrittenSession, served_texts
from tiny_model.scenes import Shape, draw

MODEL = "Qwen/Qwen2-VL-2B-Instruct"
HELLO = [{"role": "user", "content": "Hello"}]


class NotingSession:
    """Answers with `pieces`, or fails with `error` before or after them; notes what it was asked."""

    def __init__(self):
        self.pieces, self.error, self.fails_after = ["A red ", "circle."], None, 0
        self.messages, self.options, self.stopped = None, None, threading.Event()
        self.waits = False

    def stream(self, messages, **options):
        self.messages, self.options = messages, options
        state = AnswerState()
        return Answer(state, self._texts(state))

    def _texts(self, state):
        while self.waits and state.wanted():
            time.sleep(0.01)
        if self.waits:
            self.stopped.set()
        for index, piece in enumerate([*self.pieces, None]):
            if self.error and index == self.fails_after:
                raise self.error
            if piece:
                state.stats.answer_tokens += 1
                yield piece
        state.stats.finish("stop")


@pytest.fixture
def session():
    return NotingSession()


@pytest.fixture
def client(session):
    return TestClient(guarded(make_api(session, MODEL), "127.0.0.1", ""), base_url="http://127.0.0.1")


def ask(client, messages=HELLO, **fields):
    return client.post("/v1/chat/completions", json={"model": MODEL, "messages": messages, **fields})


def png(size=(8, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, "PNG")
    return buffer.getvalue()


B64 = base64.b64encode(png()).decode()


# ---- what clients send ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "stop",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "stream",
        "stream_options",
        "seed",
        "n",
        "tools",
        "tool_choice",
        "logprobs",
        "response_format",
        "user",
        "frequency_penalty",
        "logit_bias",
        "metadata",
        "audio",
    ],
)
def test_null_is_as_if_absent(client, session, name):
    assert ask(client).status_code == 200
    expected = session.options
    assert ask(client, **{name: None}).status_code == 200
    assert session.options == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1},
        {"user": "me"},
        {"frequency_penalty": 0},
        {"presence_penalty": 0},
        {"logprobs": False},
        {"logit_bias": {}},
        {"tools": []},
        {"tool_choice": "none"},
        {"parallel_tool_calls": True},
        {"response_format": {"type": "text"}},
        {"store": False},
        {"metadata": {"a": "b"}},
        {"modalities": ["text"]},
        {"service_tier": "auto"},
        {"cache_prompt": True},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "none"},
        {"reasoning_effort": "low"},
    ],
)
def test_what_changes_nothing_is_accepted(client, session, fields):
    reply = ask(client, **fields)
    assert reply.status_code == 200, reply.text
    assert "json_schema" not in session.options


@pytest.mark.parametrize(
    "fields, param",
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"5": 10}}, "logit_bias"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": "x" * 10_000}, "stop"),
        ({"stop": ""}, "stop"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [{"role": "robot", "content": "Hello"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "system", "content": "z " * 300_000}, *HELLO]}, "messages"),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(client, session, fields, param):
    reply = client.post("/v1/chat/completions", json={"model": MODEL, "messages": HELLO, **fields})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert session.messages is None


@pytest.mark.parametrize(
    "fields, options",
    [
        ({}, {"max_new_tokens": None, "do_sample": False}),
        ({"max_tokens": 4096}, {"max_new_tokens": 4096}),
        ({"max_tokens": 10, "max_completion_tokens": 20}, {"max_new_tokens": 20}),
        ({"temperature": 1e-40}, {"do_sample": True, "temperature": 1e-40}),
        ({"temperature": 1, "seed": -1}, {"seed": None}),
        ({"temperature": 1, "seed": 2**63 + 5}, {"seed": 5}),
        ({"temperature": 1, "top_k": 5, "min_p": 0.1, "top_p": 0}, {"top_k": 5, "min_p": 0.1, "top_p": 0}),
        ({"repetition_penalty": 1.1, "frequency_penalty": 0.5}, {"repetition_penalty": 1.1, "frequency_penalty": 0.5}),
        ({"stop": "END"}, {"stop": ("END",)}),
        ({"stop": ["a", "b"]}, {"stop": ("a", "b")}),
        ({"response_format": {"type": "json_object"}}, {"json_schema": True}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}},
            {"json_schema": {"type": "object"}},
        ),
    ],
)
def test_fields_become_options(client, session, fields, options):
    assert ask(client, **fields).status_code == 200
    assert {name: session.options[name] for name in options} == options


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{B64}"}},
        {"type": "image_url", "image_url": f"data:image/png;base64,{B64}"},
        {"type": "image_url", "image_url": {"url": f"data:image;base64,{B64}"}},
        {"type": "image_url", "image_url": {"url": f" DATA:IMAGE/PNG;BASE64,{B64}"}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;charset=utf-8;base64,{B64}"}},
        {"type": "image_url", "image_url": {"url": f"data:;base64,{B64[:40]}\r\n{B64[40:]}"}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{B64.rstrip('=')}"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + B64.replace("+", "-").replace("/", "_")}},
        {"type": "image_url", "image_url": {"url": "data:image/png," + urllib.parse.quote_from_bytes(png())}},
        {"type": "input_image", "image_url": f"data:image/png;base64,{B64}"},
    ],
)
def test_picture_is_read_however_it_is_spelled(client, session, part):
    assert (
        ask(client, [{"role": "user", "content": [part, {"type": "text", "text": "What is it?"}]}]).status_code == 200
    )
    assert session.messages[0]["content"][0] == {"type": "image", "image": png()}


def test_video_as_a_file_and_as_frames(client, session):
    address = f"data:video/mp4;base64,{B64}"
    assert (
        ask(client, [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": address}}]}]).status_code
        == 200
    )
    assert session.messages[0]["content"] == [{"type": "video", "video": png()}]
    address = f"data:video/jpeg;base64,{B64},{B64}"
    ask(client, [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": address, "fps": 2}}]}])
    assert session.messages[0]["content"] == [{"type": "video", "video": [png(), png()], "fps": 2}]


PDF = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.7 and so on").decode()


@pytest.mark.parametrize("part", [
    {"type": "file", "file": {"filename": "letter.pdf", "file_data": PDF}},
    {"type": "input_file", "filename": "letter.pdf", "file_data": PDF},
])  # fmt: skip
def test_a_document_is_taken_as_openai_takes_it(client, session, part):
    assert ask(client, [{"role": "user", "content": [part]}]).status_code == 200
    assert session.messages[0]["content"] == [{"type": "document", "document": b"%PDF-1.7 and so on"}]
    assert ask(client, [{"role": "user", "content": [{**part, "pages": [2]}]}]).status_code == 200
    assert session.messages[0]["content"][0]["pages"] == [2]


@pytest.mark.parametrize("part, said", [
    ({"file": {"file_id": "file-123"}}, "no file_data. Nothing is fetched here"),
    ({"file": {"file_data": "https://example.org/a.pdf"}}, "not in the request"),
    ({"file": {"file_data": PDF}, "pages": "1-3"}, "must be a list of page numbers"),
])  # fmt: skip
def test_a_document_that_is_not_in_the_request_is_refused(client, part, said):
    reply = ask(client, [{"role": "user", "content": [{"type": "file", **part}]}])
    assert reply.status_code == 400
    assert said in reply.json()["error"]["message"]


def test_a_document_counts_as_its_pages(client):
    part = {"type": "file", "file": {"file_data": PDF}}
    assert ask(client, [{"role": "user", "content": [part] * 4}]).status_code == 200
    reply = ask(client, [{"role": "user", "content": [part] * 5}])
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "messages")
    assert "a document counts as 8" in reply.json()["error"]["message"]


def test_detail_and_pixels_become_the_pictures_own_budget(client, session):
    url = {"url": f"data:image/png;base64,{B64}"}
    for options, expected in (
        ({"detail": "low"}, {"max_pixels": 128 * PIXELS_PER_TOKEN}),
        ({"detail": "high"}, {}),
        ({"max_pixels": 5000, "min_pixels": 900}, {"max_pixels": 5000, "min_pixels": 900}),
    ):
        ask(client, [{"role": "user", "content": [{"type": "image_url", "image_url": url | options}]}])
        assert session.messages[0]["content"] == [{"type": "image", "image": png(), **expected}]


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/a.png",
        "file:///etc/passwd",
        "/etc/passwd",
        "data:image/png;base64,@@@",
        "data:image/png;base64",
    ],
)
def test_what_is_not_in_the_request_is_refused_with_what_to_send(client, session, address):
    reply = ask(client, [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": address}}]}])
    assert reply.status_code == 400
    assert "data:image/jpeg;base64" in reply.json()["error"]["message"] or "base64" in reply.json()["error"]["message"]
    assert reply.json()["error"]["param"] == "messages[0].content[0]" and session.messages is None


def test_roles_are_those_of_a_session(client, session):
    messages = [
        {"role": "developer", "content": "Be brief."},
        *HELLO,
        {"role": "assistant", "content": None},
        {"role": "user", "content": [{"type": "input_text", "text": "And now?"}]},
    ]
    assert ask(client, messages).status_code == 200
    assert [message["role"] for message in session.messages] == ["system", "user", "assistant", "user"]


# As these programs send them; the shapes are from their public code.
OF_CHAT_PROGRAMS = {
    "Open WebUI": {"stream": True, "stream_options": {"include_usage": True}, "params": {}, "tool_servers": [],
                   "features": {"web_search": False}, "variables": {"{{USER_NAME}}": "me"}, "chat_id": "1", "id": "2"},
    "LibreChat": {"user": "65f", "temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0,
                  "stream": True},
    "SillyTavern": {"temperature": 1, "max_tokens": 300, "stream": True, "presence_penalty": 0, "frequency_penalty": 0,
                    "top_p": 1, "stop": [], "logit_bias": {}, "seed": -1, "n": 1, "logprobs": None, "custom_url": ""},
    "Continue": {"max_tokens": 4096, "stream": True, "temperature": None, "top_p": None, "stop": ["<|im_end|>"],
                 "tools": [], "parallel_tool_calls": False, "prediction": None},
}  # fmt: skip


@pytest.mark.parametrize("fields", OF_CHAT_PROGRAMS.values(), ids=OF_CHAT_PROGRAMS)
def test_requests_of_chat_programs_are_answered(client, session, fields):
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{B64}", "detail": "auto"}}
    reply = ask(client, [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}], **fields)
    assert reply.status_code == 200, reply.text
    assert "data: [DONE]" in reply.text and session.messages[0]["content"][1]["image"] == png()


def test_a_request_has_a_bounded_number_of_pictures(client, session):
    part = {"type": "image_url", "image_url": f"data:image/png;base64,{B64}"}
    reply = ask(client, [{"role": "user", "content": [part] * 33}])
    assert reply.status_code == 400 and "32" in reply.json()["error"]["message"]


def test_body_in_chunks_is_read(client):
    body = json.dumps({"model": MODEL, "messages": HELLO}).encode()
    headers = {"content-type": "application/json"}
    assert client.post("/v1/chat/completions", content=iter([body[:9], body[9:]]), headers=headers).status_code == 200


# ---- what comes back ------------------------------------------------------------------------------------------------


def test_answer_has_the_fields_that_openai_has(client):
    reply = ask(client).json()
    [choice] = reply["choices"]
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": "A red circle.", "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert set(reply["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"}


def test_chunks_have_usage_null_until_the_last_where_it_is_wanted(client):
    lines = ask(client, stream=True, stream_options={"include_usage": True}).text.split("\n\n")
    *chunks, last = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == [] and last["usage"]["completion_tokens"] == 2
    assert "data: [DONE]" in lines
    assert "usage" not in ask(client, stream=True).text


@pytest.mark.parametrize(
    "error, status, message",
    [
        (SessionError("Too long."), 400, "Too long."),
        (MediaError("Not a picture."), 400, "Not a picture."),
        (BusyError("Full."), 429, "Full."),
        (LostError("Lost."), 503, "Lost."),
        (ValueError("secret /srv/models/x.bin"), 500, "The model failed"),
        (KeyError("secret"), 500, "The model failed"),
    ],
)
def test_errors_are_openais_objects_and_only_the_clients_own_are_explained(session, error, status, message):
    app = guarded(make_api(session, MODEL), "127.0.0.1", "")
    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    session.error = error
    for stream in (False, True):
        reply = ask(client, stream=stream)
        assert reply.status_code == status
        assert message in reply.json()["error"]["message"] and "secret" not in reply.text


def test_error_in_the_middle_is_said_in_the_stream(client, session):
    session.error, session.fails_after = RuntimeError("secret"), 1
    lines = ask(client, stream=True).text.strip().split("\n\n")
    assert json.loads(lines[-1].removeprefix("data: "))["error"]["type"] == "server_error"
    assert "secret" not in lines[-1] and "[DONE]" not in "".join(lines)


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/v1/nothing", 404),
        ("DELETE", "/v1/models", 405),
        ("GET", "/v1/models/gpt-4", 404),
        ("GET", "/v1/models", 200),
        ("GET", f"/v1/models/{MODEL}", 200),
    ],
)
def test_every_address_answers_as_openais_does(client, method, path, status):
    reply = client.request(method, path)
    assert reply.status_code == status
    assert status == 200 or set(reply.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b'{"model": 5}', b"\xff\xfe"])
def test_broken_json_is_the_clients_fault(client, body):
    reply = client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400 and reply.json()["error"]["message"]


# ---- who asks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Host": "evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({}, 200),
    ],
)
def test_web_sites_cannot_ask_in_their_visitors_name(client, headers, status):
    body = json.dumps({"model": MODEL, "messages": HELLO})
    headers = {"Content-Type": "application/json", **headers}
    reply = client.post("/v1/chat/completions", content=body, headers=headers)
    assert reply.status_code == status
    assert status == 200 or reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "given, status",
    [
        ("Bearer a key", 200),
        ("bearer a key", 200),
        ("BEARER a key", 200),
        ("a key", 401),
        ("Bearer wrong", 401),
        ("", 401),
    ],
)
def test_key_is_a_bearer_token_in_any_case(session, given, status, monkeypatch):
    monkeypatch.setattr("serving.openai_api.WRONG_KEY_S", 0)
    client = TestClient(guarded(make_api(session, MODEL, "a key"), "127.0.0.1", "a key"))
    reply = client.get("/v1/models", headers={"Authorization": given})
    assert reply.status_code == status
    assert status == 200 or (reply.json()["error"]["code"], reply.headers["www-authenticate"]) == (
        "invalid_api_key",
        "Bearer",
    )


def test_wrong_keys_wait_one_behind_the_other(session, monkeypatch):
    monkeypatch.setattr("serving.openai_api.WRONG_KEY_S", 0.2)
    with listening(guarded(make_api(session, MODEL, "a key"), "127.0.0.1", "a key")) as url:
        guess = openai.OpenAI(base_url=f"{url}/v1", api_key="guess", max_retries=0)
        began = time.monotonic()

        def try_once():
            with pytest.raises(openai.AuthenticationError):
                guess.models.list()

        tries = [threading.Thread(target=try_once) for _ in range(4)]
        for thread in tries:
            thread.start()
        for thread in tries:
            thread.join()
        assert time.monotonic() - began > 4 * 0.2


def test_visitors_share_nothing_and_one_user_of_an_address_is_one_visitor(client, session):
    visitors = []
    for user in ("", "a", "b", "a"):
        ask(client, user=user)
        visitors.append(session.options["visitor"])
    assert len(set(visitors)) == 3 and visitors[1] == visitors[3]
    assert len(set(map(group_of, visitors))) == 1  # they share their time, whatever the client calls itself


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_while_it_waits_stops_its_answer(session, stream):
    session.waits = True
    with listening(guarded(make_api(session, MODEL), "127.0.0.1", "")) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0, timeout=0.3)
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(model=MODEL, messages=HELLO, stream=stream)
        assert session.stopped.wait(5)


def test_one_visitor_does_not_take_all_places(session):
    session.waits = True
    with listening(guarded(make_api(session, MODEL), "127.0.0.1", "")) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0, timeout=2)
        refused = []

        def try_once():
            try:
                client.chat.completions.create(model=MODEL, messages=HELLO)
            except openai.RateLimitError as error:
                refused.append(error)
            except openai.APITimeoutError:
                pass

        tries = [threading.Thread(target=try_once) for _ in range(MAX_OF_ONE_VISITOR + 3)]
        for thread in tries:
            thread.start()
        for thread in tries:
            thread.join()
    assert len(refused) == 3


@pytest.mark.parametrize("typed, name", [(None, "practice-model"), (MODEL, MODEL), ("/srv/models/my-vl/", "my-vl")])
def test_the_folder_of_a_model_is_not_its_name(typed, name):
    assert model_name(typed) == name


def test_parsing_is_not_the_place_for_surprises():
    asked = parse(json.dumps({"model": "m", "messages": HELLO, "unknown": {"deep": [1]}}).encode())
    assert asked.conversation() == [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]


def test_every_page_can_have_the_api_at_the_same_address(session):
    with served_texts(WrittenSession()) as demo:
        add_api(demo, session, MODEL)
        client = openai.OpenAI(base_url=f"{demo.local_url}v1", api_key="-", max_retries=0)
        assert client.chat.completions.create(model=MODEL, messages=HELLO).choices[0].message.content == "A red circle."
        foreign = {"Content-Type": "text/plain"}
        assert httpx.post(f"{demo.local_url}v1/chat/completions", content="{}", headers=foreign).status_code == 415


# ---- with the practice model ----------------------------------------------------------------------------------------


def test_openais_client_asks_about_a_picture_goes_on_and_stops(ov_model, processor):
    session, buffer = ChatSession(ov_model, processor), io.BytesIO()
    draw([Shape("circle", "red", 0.3, 0.3, 0.2)], size=(224, 168)).save(buffer, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    first = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "Describe this image."}]
    messages = [{"role": "user", "content": first}]
    with listening(guarded(make_api(session, MODEL), "127.0.0.1", "")) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="-", max_retries=0)
        whole = client.chat.completions.create(model=MODEL, messages=messages)
        chunks = list(client.chat.completions.create(model=MODEL, messages=messages, stream=True))
        text = whole.choices[0].message.content
        assert "circle" in text
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text
        messages += [{"role": "assistant", "content": text}, {"role": "user", "content": "Where is the circle?"}]
        after = client.chat.completions.create(model=MODEL, messages=messages)
        assert after.usage.prompt_tokens_details.cached_tokens > 50
        other = client.chat.completions.create(model=MODEL, messages=messages, user="somebody else")
        assert other.usage.prompt_tokens_details.cached_tokens == 0  # what another wrote is not told
        short = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=2)
        assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 2)
        schema = {
            "type": "object",
            "properties": {"colour": {"enum": ["red", "blue"]}},
            "required": ["colour"],
            "additionalProperties": False,
        }
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        found = client.chat.completions.create(model=MODEL, messages=messages, response_format=wanted, max_tokens=100)
        assert json.loads(found.choices[0].message.content)["colour"] in ("red", "blue")
