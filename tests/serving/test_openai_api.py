"""The API over replicas, with the `openai` package as its client. What it does with requests and answers is
tests/test_openai_api.py's subject.
"""

import base64
import threading

import httpx
import openai
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from serving.openai_api import make_api
from tests.asgi import listening
from tests.serving.conftest import asked, drawing, idle, wait_until

MODEL, KEY = "practice-model", "a key of our own"


@pytest.fixture(scope="module")
def url(remote):
    with listening(Starlette(routes=[Mount("/v1", make_api(remote, MODEL, KEY))])) as address:
        yield f"{address}/v1"


@pytest.fixture(scope="module")
def client(url):
    return openai.OpenAI(base_url=url, api_key=KEY, max_retries=0)


def picture() -> dict:
    data = base64.b64encode(drawing()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def question(text="Describe this image.", *parts) -> list[dict]:
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def test_models_are_listed(client):
    assert [model.id for model in client.models.list()] == [MODEL]


def test_an_answer_about_a_picture_with_its_usage(client, direct):
    reply = client.chat.completions.create(model=MODEL, messages=question("Describe this image.", picture()))
    answer = direct.stream(asked(image=drawing()))
    assert reply.choices[0].message.content == "".join(answer)
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.prompt_tokens == answer.stats.prompt_tokens
    assert reply.usage.total_tokens == answer.stats.prompt_tokens + answer.stats.answer_tokens


def test_a_stream_says_the_same_in_pieces_and_its_usage_at_the_end(client):
    asked = {"model": MODEL, "messages": question("Describe this image.", picture())}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    *pieces, usage = chunks
    assert "".join(c.choices[0].delta.content or "" for c in pieces) == whole.choices[0].message.content
    assert len(pieces) > 3
    assert pieces[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in pieces if c.choices[0].finish_reason] == ["stop"]
    assert usage.usage.completion_tokens == whole.usage.completion_tokens
    assert usage.usage.prompt_tokens_details.cached_tokens > 0


def test_text_alone_a_system_message_and_a_history(client):
    messages = [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "What can you see?"},
    ]  # fmt: skip
    assert client.chat.completions.create(model=MODEL, messages=messages).choices[0].message.role == "assistant"


def test_stop_length_and_seed(client):
    asked = {"model": MODEL, "messages": question("Describe this image.", picture())}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    word = whole.split()[2]
    stopped = client.chat.completions.create(**asked, stop=[word]).choices[0]
    assert stopped.message.content == whole[: whole.index(word)]
    short = client.chat.completions.create(**asked, max_completion_tokens=3)
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 3)
    tokens = client.chat.completions.create(**asked).usage.completion_tokens  # the one that ends it is the last allowed
    assert client.chat.completions.create(**asked, max_tokens=tokens).choices[0].finish_reason == "stop"
    assert stopped.finish_reason == "stop"
    drawn = [client.chat.completions.create(**asked, seed=s, temperature=1.5).choices[0].message for s in (1, 1)]
    assert drawn[0].content == drawn[1].content


@pytest.mark.parametrize("stream", [False, True])
def test_a_picture_that_cannot_be_opened_is_the_clients_fault(client, stream):
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    with pytest.raises(openai.BadRequestError, match="not a picture"):
        client.chat.completions.create(model=MODEL, messages=question("Hello", part), stream=stream)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_its_replica(url, handle, stream):
    body = {"model": MODEL, "messages": question("Tell me a story."), "max_tokens": 2048, "stream": stream}

    def ask_and_leave():
        with httpx.Client(timeout=1) as client:
            request = {"json": body, "headers": {"Authorization": f"Bearer {KEY}"}}
            try:
                with client.stream("POST", f"{url}/chat/completions", **request) as reply:
                    next(reply.iter_lines())
            except httpx.ReadTimeout:
                pass

    thread = threading.Thread(target=ask_and_leave)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    wait_until(lambda: idle(handle), 10)  # 2048 tokens would take longer
