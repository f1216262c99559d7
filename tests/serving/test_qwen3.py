"""A Qwen3-VL behind replicas and their API: what DeepStack and time stamps need crosses the processes, too."""

import base64

import openai
import pytest
from ray import serve
from starlette.applications import Starlette
from starlette.routing import Mount
from transformers import AutoProcessor

from serving.openai_api import make_api
from serving.remote import RemoteSession
from tests.asgi import listening
from tests.serving.conftest import asked, deploy, drawing
from tests.serving.tested import exact
from tests.test_media import brightening, write_video

LIMIT = {"max_new_tokens": 16}


@pytest.fixture(scope="module")
def remote(cluster, qwen3_dir):
    yield RemoteSession(deploy(qwen3_dir, "qwen3"), AutoProcessor.from_pretrained(qwen3_dir), max_concurrent_answers=2)
    serve.delete("qwen3")


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> bytes:
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4", brightening(12, 112, 112)).read_bytes()


def test_answers_about_a_picture_and_a_video_are_those_of_a_session_in_this_process(remote, qwen3_dir, video):
    direct = exact(str(qwen3_dir), 1)
    film = [{"role": "user", "content": [{"type": "video", "video": video}, {"type": "text", "text": "What moves?"}]}]
    url = f"data:video/mp4;base64,{base64.b64encode(video).decode()}"
    with listening(Starlette(routes=[Mount("/v1", make_api(remote, "qwen3"))])) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="-", max_retries=0)
        pictures = [asked(image=drawing(colour)) for colour in ("red", "green", "blue", "black")]
        said = []  # random weights may end an answer at once, so there are several
        for messages in (*pictures, film):
            said.append("".join(direct.stream(messages, **LIMIT)))
            assert "".join(remote.stream(messages, **LIMIT)) == said[-1]
        assert any(said[:-1]) and said[-1]
        content = [{"type": "video_url", "video_url": {"url": url}}, {"type": "text", "text": "What moves?"}]
        reply = client.chat.completions.create(model="qwen3", messages=[{"role": "user", "content": content}],
                                               max_tokens=LIMIT["max_new_tokens"])  # fmt: skip
        assert reply.choices[0].message.content == said[-1]
