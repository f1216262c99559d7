"""The files that phones and scanners make, through the page and through the API, to an answer of the practice model."""

import base64
import io

import numpy as np
import pillow_heif
import pytest
from fastapi.testclient import TestClient
from gradio_client import Client, handle_file

from chat_session import ChatSession
from gradio_helper import make_demo
from serving.api import guarded
from serving.openai_api import make_api
from session.hdr import PQ
from tests.test_documents import written
from tests.test_hdr import write_hdr
from tests.test_media import write_video
from tiny_model.scenes import Shape, draw, draw_video

CIRCLE = Shape("circle", "red", x=0.5, y=0.5, r=0.25)
SQUARE = Shape("square", "green", x=0.25, y=0.5, r=0.18)
MINUTES, RATE = 20, 2
DESCRIBE, MOVES, ANYTHING = "Describe this image.", "What happens in this video?", "What is this?"
MODEL = "practice"


@pytest.fixture(scope="module")
def session(ov_model, processor) -> ChatSession:
    return ChatSession(ov_model, processor)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict:
    """{name: (path, kind of the API's part, question, words that the answer has)}"""
    folder = tmp_path_factory.mktemp("files")
    pillow_heif.register_heif_opener()
    draw([CIRCLE]).save(file := io.BytesIO(), "HEIF", quality=90)
    (folder / "IMG_0001").write_bytes(file.getvalue())  # without an ending
    (folder / "scan.pdf").write_bytes(written("PDF"))
    steps = [np.array(frame) for frame in draw_video(SQUARE, "right")]
    long = [step for step in steps for _ in range(MINUTES * 60 * RATE // len(steps))]
    write_video(folder / "long.mp4", long, rate=RATE)
    write_hdr(folder / "hdr.mov", (220, 40, 40), PQ)
    return {
        "HEIC": (folder / "IMG_0001", "image_url", DESCRIBE, "red circle"),
        "PDF": (folder / "scan.pdf", "file", ANYTHING, ""),
        "20 minutes": (folder / "long.mp4", "video_url", MOVES, "moves to the right"),
        "HDR": (folder / "hdr.mov", "video_url", MOVES, ""),
    }


@pytest.fixture(scope="module")
def page(session, ov_model, processor):
    demo = make_demo(ov_model, processor, session=session)
    demo.launch(prevent_thread_lock=True, quiet=True)
    yield demo
    demo.close()


NAMES = ["HEIC", "PDF", "20 minutes", "HDR"]


@pytest.mark.parametrize("name", NAMES)
def test_the_page_answers_about_it(page, files, name):
    path, _, question, words = files[name]
    message = {"text": question, "files": [handle_file(str(path))]}
    said = Client(page.local_url, verbose=False).predict(message=message, max_tokens=64, api_name="/chat")
    assert said and words in said


@pytest.mark.parametrize("name", NAMES)
def test_the_api_answers_about_it(session, files, name):
    path, kind, question, words = files[name]
    data = "data:application/octet-stream;base64," + base64.b64encode(path.read_bytes()).decode()
    content = {"file_data": data, "filename": path.name} if kind == "file" else {"url": data}
    parts = [{"type": kind, kind: content}, {"type": "text", "text": question}]
    client = TestClient(guarded(make_api(session, MODEL), "127.0.0.1", ""), base_url="http://127.0.0.1")
    asked = {"model": MODEL, "messages": [{"role": "user", "content": parts}], "max_tokens": 64}
    answered = client.post("/v1/chat/completions", json=asked)
    assert answered.status_code == 200, answered.text
    said = answered.json()["choices"][0]["message"]["content"]
    assert said and words in said
