"""What a client of the API may send: counted before it is parsed, decoded without lists of pieces, and wrong keys wait
only so many at once.
"""

import asyncio
import json
from base64 import urlsafe_b64encode
from types import SimpleNamespace

import pytest
from starlette.exceptions import HTTPException

from serving import openai_api
from serving.errors import RequestError
from serving.media_parts import MAX_FRAMES, MAX_PERCENT_CHARACTERS, decoded
from serving.openai_api import MAX_WRONG_KEYS, Gate
from serving.request import MAX_ENTRIES, parse

MESSAGE = {"role": "user", "content": "hi"}


def request(**fields) -> bytes:
    return json.dumps({"model": "m", "messages": [MESSAGE], **fields}).encode()


@pytest.mark.parametrize("name", ["metadata", "messages", "response_format"])
def test_what_has_too_many_entries_is_not_parsed(name, monkeypatch):
    monkeypatch.setattr("serving.request.ChatCompletionRequest.model_validate_json", pytest.fail)
    with pytest.raises(RequestError, match="entries"):
        parse(request(**{name: [[]] * MAX_ENTRIES}))


def test_what_clients_send_has_room():
    text = {"type": "text", "text": "[{}, " * 50_000}
    assert parse(request(messages=[{"role": "user", "content": [text] * 2}] * 500)).model == "m"


@pytest.mark.parametrize("role", [["user"], {"user": 1}, 7, None, "root"])
def test_a_role_of_any_kind_is_refused_by_name(role):
    with pytest.raises(RequestError, match="has the role") as refusal:
        parse(request(messages=[{**MESSAGE, "role": role}])).conversation()
    assert refusal.value.param == "messages[0].role"


def video(url: str) -> bytes:
    return request(messages=[{"role": "user", "content": [{"type": "video_url", "video_url": {"url": url}}]}])


def test_a_million_frames_are_not_listed(monkeypatch):
    monkeypatch.setattr("serving.media_parts.decoded", lambda address, where: b"")
    asked = parse(video("data:video/jpeg;base64" + "," * 1_000_000))
    with pytest.raises(RequestError, match="frames"):
        asked.conversation()
    most = parse(video("data:video/jpeg;base64" + "," * MAX_FRAMES)).conversation()
    assert len(most[0]["content"][0]["video"]) == MAX_FRAMES


def test_an_address_without_base64_is_short():
    assert decoded("data:,a%20b", "x") == b"a b"
    with pytest.raises(RequestError, match="base64"):
        decoded("data:," + "%41" * (MAX_PERCENT_CHARACTERS // 3 + 1), "x")


def test_base64_is_read_however_it_is_spelled():
    data = bytes(range(256))
    letters = urlsafe_b64encode(data).decode()
    spelled = "\n".join([letters[:50], letters[50:]]).replace("-", "%2B").rstrip("=") + "%0D%0a \t"
    assert decoded(f"DATA:image/png;charset=x;BASE64,{spelled}", "x") == data
    for wrong in ("ä", "a", "a*b="):
        with pytest.raises(RequestError, match="not valid base64"):
            decoded(f"data:;base64,{wrong}", "x")


def test_wrong_keys_wait_only_so_many_at_once(monkeypatch):
    monkeypatch.setattr(openai_api, "WRONG_KEY_S", 0.001)
    gate = Gate("right")

    def asked(address: str, key: str):
        return gate.let_in(
            SimpleNamespace(headers={"authorization": f"Bearer {key}"}, client=(address, 1))
        )

    async def all_at_once():
        wrong = [asked("192.0.2.7", "wrong") for _ in range(MAX_WRONG_KEYS + 5)]
        return await asyncio.gather(*wrong, asked("192.0.2.8", "wrong"), asked("192.0.2.7", "right"),
                                    return_exceptions=True)  # fmt: skip

    *refusals, of_other, right = asyncio.run(all_at_once())
    assert all(isinstance(refusal, HTTPException) for refusal in (*refusals, of_other))
    assert sorted(refusal.status_code for refusal in refusals) == [401] * MAX_WRONG_KEYS + [429] * 5
    assert (of_other.status_code, right) == (401, None)
    assert not gate._waiting and not gate._locks
