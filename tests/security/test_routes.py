"""A page answers at what it uses, and nowhere else: of Gradio's other routes, one fetches addresses, one draws pictures
of any size, one tells what others ask.
"""

import httpx
import pytest

from adapters.page_routes import is_used
from tests.fake_model import echoing, fake_processor
from tests.test_gradio_helper import served

CLOSED = [
    "gradio_api/file=https://example.com/a.png", "gradio_api/file=HTTP://127.0.0.1:9/a", "gradio_api/file= http://a/b",
    "gradio_api/file/https://example.com/a.png", "gradio_api/proxy=https://a.hf.space/x", "pwa_icon/50000",
    "pwa_icon/0", "monitoring", "monitoring/summary", "monitoring/x", "gradio_api/dev/reload", "gradio_api/runs",
    "gradio_api/deep_link?session_hash=x", "gradio_api/component_server", "gradio_api/process_recording",
    "gradio_api/custom_component/a/client/b/c%0Ad", "gradio_api/vibe-code", "gradio_api/vibe-edit", "openapi.json",
    "gradio_api/stream/a/b/1/playlist.m3u8", "gradio_api/profiling/traces", "docs", "gradio_api/mcp", "nowhere",
]  # fmt: skip
OPEN = [
    "", "config", "theme.css", "gradio_api/info", "gradio_api/openapi.json", "manifest.json", "pwa_icon/192",
    "favicon.ico", "gradio_api/queue/status", "gradio_api/startup-events",
]  # fmt: skip


@pytest.fixture(scope="module")
def page():
    with served(echoing(fake_processor())) as demo:
        yield demo


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_a_page_does_not_use_is_closed(page, path, method):
    given = {"json": {}} if method == "POST" else {}
    answer = httpx.request(method, page.local_url + path, **given)
    assert (answer.status_code, answer.json()["detail"]) == (404, "Not Found")


@pytest.mark.parametrize("path", OPEN)
def test_what_a_page_uses_is_open(page, path):
    assert httpx.get(page.local_url + path).status_code == 200


@pytest.mark.parametrize("path", ["/tmp/a b/https:/x.png", "C:\\Users\\me\\a.png", "/tmp/\n.png"])
def test_any_path_of_a_file_is_one(path):
    assert is_used(f"/gradio_api/file={path}")


def test_the_page_may_be_behind_a_prefix():
    with served(echoing(fake_processor()), root_path="/user/me") as demo:
        assert httpx.get(f"{demo.local_url}config").status_code == 200
        assert httpx.get(f"{demo.local_url}user/me/config").status_code == 200
        assert httpx.get(f"{demo.local_url}user/me/monitoring/summary").status_code == 404



def test_what_one_visitor_calls_the_page_is_told_to_nobody_else():
    with served(echoing(fake_processor()), server_name="0.0.0.0") as demo:
        url = f"http://127.0.0.1:{demo.server_port}"
        for path in ("/gradio_api/info", "/gradio_api/openapi.json", "/config", "/"):
            assert httpx.get(url + path, headers={"host": "evil.example"}).status_code == 200
            assert "evil.example" not in httpx.get(url + path).text
        assert "/chat" in httpx.get(f"{url}/gradio_api/info").json()["named_endpoints"]
