"""The API with the practice model, for clients in processes of their own. Without `make test-clients`, which installs
them, nothing here is collected.
"""

import base64
import io

import pytest

from chat_session import ChatSession
from serving.api import guarded
from serving.openai_api import make_api
from tests.asgi import listening
from tests.clients.install import PYTHON
from tiny_model.scenes import Shape, draw

MODEL = "Qwen/Qwen2-VL-2B-Instruct"  # what it is called, as a name with a slash has to work
collect_ignore_glob = [] if PYTHON.exists() else ["test_*.py"]


@pytest.fixture(scope="session")
def url(ov_model, processor):
    """Of the API."""
    session = ChatSession(ov_model, processor, shared_cache=True)
    with listening(guarded(make_api(session, MODEL), "127.0.0.1", "")) as address:
        yield f"{address}/v1"


@pytest.fixture(scope="session")
def picture() -> str:
    """As a data: address."""
    shapes = [Shape("circle", "red", x=0.2, y=0.25, r=0.17), Shape("star", "blue", x=0.8, y=0.75, r=0.2)]
    draw(shapes, size=(336, 224)).save(buffer := io.BytesIO(), "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


@pytest.fixture
def unused_session_url():
    """Of an API that answers at once, whatever it is asked."""
    from tests.test_openai_api import NotingSession

    with listening(guarded(make_api(NotingSession(), MODEL), "127.0.0.1", "")) as address:
        yield f"{address}/v1"
