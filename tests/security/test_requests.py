"""Who may ask a page that runs on this machine: not another web site, whatever name it goes by.

Requests as browsers send them, to a served page: reproductions "host.py" and "M8".
"""

import http.client

import httpx
import pytest
from gradio_client import Client, handle_file

from adapters import request_body, request_guard
from adapters.request_body import MAX_PARTS
from adapters.request_guard import HOSTS_VARIABLE, MAX_PAGE_BYTES, TrustedNames
from tests.fake_model import echoing, fake_processor
from tests.test_gradio_helper import echo_page as page
from tests.test_gradio_helper import served

__all__ = ["page"]  # a fixture

PROCESSOR = fake_processor()
EVIL = "https://evil.example"
QUESTION = {"data": [{"text": "hi", "files": []}, "", 0, 256, 0, 64]}
ASKING = ("POST", "gradio_api/call/chat", {"json": QUESTION})
UPLOADING = ("POST", "gradio_api/upload", {"files": {"files": b"x"}})
READING = ("GET", "config", {})


def send(page, request, **headers) -> httpx.Response:
    method, path, content = request
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.request(method, page.local_url + path, headers=named, **content)


# ---- Host -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_", [ASKING, UPLOADING, READING, ("GET", "", {})], ids=["ask", "upload", "read", "open"]
)
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "localhost.evil.example", "127.0.0.1.evil.example", ""]
)
def test_another_name_that_leads_here_gets_nothing(page, request_, host):
    page.model.calls.clear()
    answer = send(page, request_, host=host)
    assert answer.status_code == 403
    assert HOSTS_VARIABLE in answer.json()["detail"] and answer.json()["detail"] == answer.json()["error"]["message"]
    assert page.model.calls == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1:7860", "localhost", "LOCALHOST:1", "[::1]:7860", "192.168.1.7", "host.docker.internal:1"]
)
def test_this_machine_has_several_names(page, host):
    assert send(page, READING, host=host).status_code == 200


def test_a_person_reads_the_refusal_as_text(page):
    answer = send(page, ("GET", "", {}), host="hub.example.org", accept="text/html,*/*")
    assert answer.headers["content-type"].startswith("text/plain")
    assert f"{HOSTS_VARIABLE}=hub.example.org" in answer.text


@pytest.mark.parametrize("settings", [{"server_name": "0.0.0.0"}, {"auth": lambda user, password: True}])
def test_a_page_for_other_machines_or_with_a_password_has_any_name(settings):
    with served(echoing(PROCESSOR), **settings) as demo:
        assert send(demo, READING, host="pc7.school.example").status_code in (200, 401)


def test_the_owner_adds_names(monkeypatch):
    monkeypatch.setenv(HOSTS_VARIABLE, "hub.example.org, .lab.example app://obsidian.md")
    with served(echoing(PROCESSOR), root_path="https://proxy.example.com/user/me") as demo:
        for host in ("hub.example.org", "a.lab.example:80", "proxy.example.com"):
            assert send(demo, READING, host=host).status_code == 200
            assert send(demo, ASKING, host=host, origin=f"https://{host}").status_code == 200
        assert send(demo, READING, host="lab.example").status_code == 403
        assert send(demo, ASKING, origin="app://obsidian.md", sec_fetch_site="cross-site").status_code == 200


@pytest.mark.parametrize(("text", "origin", "trusted"), [
    ("*", EVIL, True), ("evil.example", EVIL, True), ("https://evil.example", EVIL, True), ("", EVIL, False),
    ("http://evil.example", EVIL, False), ("good.example", EVIL, False), ("evil.example", "null", False),
    (".example", EVIL, True), ("", "http://localhost:3000", False), ("", "https://[", False),
])  # fmt: skip
def test_an_origin_is_trusted_only_by_name(text, origin, trusted):
    assert TrustedNames(text).trusts_origin(origin) == trusted


# ---- Origin ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [ASKING, UPLOADING, READING], ids=["ask", "upload", "read"])
@pytest.mark.parametrize("headers", [
    {"origin": EVIL, "sec_fetch_site": "cross-site"}, {"origin": EVIL}, {"origin": "null"},
    {"origin": "null", "sec_fetch_site": "cross-site"}, {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"},
    {"origin": "http://localhost:3000", "sec_fetch_site": "same-site"}, {"origin": "http://127.0.0.1:3000"},
])  # fmt: skip
def test_a_page_from_elsewhere_may_not_ask(page, request_, headers):
    page.model.calls.clear()
    answer = send(page, request_, **headers)
    assert (answer.status_code, page.model.calls) == (403, [])
    assert HOSTS_VARIABLE in answer.json()["detail"]


def test_a_form_on_another_site_may_not_post_however_it_gets_here(page):
    headers = {"origin": EVIL, "sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert send(page, UPLOADING, **headers).status_code == 403


def test_the_page_itself_programs_and_links_get_through(page):
    own = page.local_url.rstrip("/")
    assert send(page, ASKING, origin=own, sec_fetch_site="same-origin").status_code == 200
    assert send(page, ASKING, origin=own).status_code == 200
    assert send(page, ASKING, origin="https://rewritten.example", sec_fetch_site="same-origin").status_code == 200
    assert send(page, ("GET", "", {}), sec_fetch_site="cross-site", sec_fetch_mode="navigate").status_code == 200
    assert send(page, ("GET", "", {}), sec_fetch_site="none", sec_fetch_mode="navigate").status_code == 200


def test_a_program_asks_and_uploads_as_ever(page, tmp_path):
    from PIL import Image

    Image.new("RGB", (60, 60), "red").save(tmp_path / "square.png")
    message = {"text": "Hello", "files": [handle_file(str(tmp_path / "square.png"))]}
    assert Client(page.local_url, verbose=False).predict(message=message, api_name="/chat") == "Hello"


@pytest.mark.parametrize(
    ("origin", "status"), [("https://app.example", 204), (EVIL, 403), ("http://localhost:3000", 403)]
)
def test_a_browser_that_asks_first_is_told_who_may(monkeypatch, origin, status):
    monkeypatch.setenv(HOSTS_VARIABLE, "https://app.example")
    with served(echoing(PROCESSOR)) as demo:
        asks = {"origin": origin, "access_control_request_method": "POST", "sec_fetch_site": "cross-site"}
        answer = send(demo, ("OPTIONS", "gradio_api/call/chat", {}), **asks)
        assert answer.status_code == status
        assert answer.headers.get("access-control-allow-origin") == (origin if status == 204 else None)
        if status == 204:
            posted = send(demo, ASKING, origin=origin, sec_fetch_site="cross-site")
            assert posted.headers["access-control-allow-origin"] == origin


# ---- what is sent ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "text/json"]
)
def test_json_is_called_json(page, kind):
    path = ("POST", "gradio_api/call/chat", {"content": b'{"data": []}'})
    answer = send(page, path, content_type=kind)
    assert answer.status_code == 415 and request_guard.JSON in answer.json()["detail"]


def test_only_an_upload_is_a_form(page):
    assert send(page, ("POST", "gradio_api/upload", {"json": {}})).status_code == 415


def test_a_large_body_is_refused_before_it_is_read(page):
    address = httpx.URL(page.local_url)
    connection = http.client.HTTPConnection(address.host, address.port, timeout=30)
    connection.putrequest("POST", "/gradio_api/call/chat")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(MAX_PAGE_BYTES + 1))
    connection.endheaders()  # and nothing is sent
    assert connection.getresponse().status == 413
    connection.close()


def test_a_body_that_says_no_size_is_counted(page):
    def pieces():
        for _ in range((MAX_PAGE_BYTES >> 20) + 1):
            yield b" " * (1 << 20)

    posted = ("POST", "gradio_api/call/chat", {"content": pieces()})
    assert send(page, posted, content_type="application/json").status_code == 413
    uploaded = ("POST", "gradio_api/upload", {"content": pieces()})
    assert send(page, uploaded, content_type="multipart/form-data; boundary=x").status_code == 411


def test_one_upload_has_few_files(page):
    def files(number):
        return {"files": [("files", (f"{i}.png", b"--x" * 100)) for i in range(number)]}

    assert send(page, ("POST", "gradio_api/upload", files(8))).status_code == 200
    answer = send(page, ("POST", "gradio_api/upload", files(MAX_PARTS + 1)))
    assert answer.status_code == 413 and "files" in answer.text


def test_all_bodies_together_are_bounded_and_let_go(page, monkeypatch):
    monkeypatch.setattr(
        request_body, "MAX_BYTES_AT_ONCE", len(httpx.Request("POST", "http://a", json=QUESTION).content)
    )
    for _ in range(3):
        assert send(page, ASKING).status_code == 200
    larger = {"data": [{"text": "a longer question", "files": []}, "", 0, 256, 0, 64]}
    assert send(page, ("POST", "gradio_api/call/chat", {"json": larger})).status_code == 503
    assert send(page, ASKING).status_code == 200


# ---- what is answered -----------------------------------------------------------------------------------------------


def test_every_answer_says_where_its_content_may_come_from_and_go_to(page):
    for answer in (send(page, ("GET", "", {})), send(page, READING), send(page, READING, host="evil.example")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "connect-src 'self'" in policy and "http://evil" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_nothing_in_an_uploaded_file_is_run(page):
    uploaded = send(
        page, ("POST", "gradio_api/upload", {"files": {"files": ("a.html", b"<script>1</script>")}})
    ).json()[0]
    answer = send(page, ("GET", f"gradio_api/file={uploaded}", {}))
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_notebook_may_show_the_page_and_others_only_where_the_owner_says_so():
    assert "frame-ancestors 'self' http://localhost:*" in request_guard.page_policy(TrustedNames())
    assert "https://hub.example.org:*" in request_guard.page_policy(TrustedNames("hub.example.org"))
