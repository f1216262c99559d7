"""Who is let in, to the page, to the API and to Ray itself; and that serve.yaml is what it says it is."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import openai
import pytest
import yaml
from gradio_client import Client, handle_file

from serving.front import ROOT, main, web
from serving.remote import RemoteSession
from tests.loopback import refusing_proxy
from tests.serving.conftest import asked, drawing, wait_until

KEY = "a key of our own"


@pytest.fixture(scope="module")
def url(handle, int4_dir):
    args = SimpleNamespace(model=None, replicas=2, host="127.0.0.1", port=None)
    with pytest.MonkeyPatch.context() as during, refusing_proxy(during) as asked_of_proxy:
        page = web(handle, args, int4_dir, KEY)
    assert asked_of_proxy == []
    yield page.local_url.rstrip("/")
    page.close()


def test_elsewhere_than_on_the_loopback_a_key_is_needed(monkeypatch, capsys):
    monkeypatch.delenv("SERVE_KEY", raising=False)
    assert main(["--host", "0.0.0.0"]) == 1
    assert "SERVE_KEY" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["/config", "/gradio_api/info", "/v1/models"])
def test_without_the_key_page_and_api_are_closed(url, path):
    assert httpx.get(url + path).status_code == 401
    assert "Chat about your pictures" not in httpx.get(url).text


def test_with_another_key_nobody_is_let_in(url):
    assert httpx.post(f"{url}/login", data={"username": "me", "password": KEY[:-1]}).status_code == 400
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{url}/v1", api_key=KEY[:-1]).models.list()


def test_with_the_key_page_and_api_give_the_same_answer(url, direct, tmp_path):
    expected = "".join(direct.stream(asked("Describe this image.", drawing()))).strip()
    (tmp_path / "drawing.png").write_bytes(drawing())
    message = {"text": "Describe this image.", "files": [handle_file(str(tmp_path / "drawing.png"))]}
    page = Client(url, auth=("me", KEY), verbose=False)
    assert page.submit(message=message, api_name="/chat").result(timeout=60) == expected
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY)
    model = client.models.list().data[0].id
    assert client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}]).choices


@pytest.mark.parametrize("change, answers", [
    ({}, True), ({"RAY_AUTH_TOKEN": "0" * 64}, False), ({"RAY_AUTH_MODE": "disabled"}, False),
])  # fmt: skip
def test_ray_itself_listens_only_to_those_who_know_its_token(cluster, change, answers):
    command = [Path(sys.executable).with_name("ray"), "health-check", "--address", cluster.address]
    asked = subprocess.run(command, env=os.environ | change, capture_output=True, timeout=120)
    assert (asked.returncode == 0) is answers, asked.stderr.decode()


def test_serve_yaml_starts_as_it_is(cluster, processor, int4_dir):
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    config = yaml.safe_load((ROOT / "serving" / "serve.yaml").read_text())
    config["applications"][0]["args"].update(model=str(int4_dir), threads=1)
    config["applications"][0]["deployments"][0]["autoscaling_config"].update(min_replicas=1, max_replicas=1)
    _get_global_client().deploy_apps(ServeDeploySchema.model_validate(config))
    wait_until(lambda: serve.status().applications["chat"].status == "RUNNING")
    session = RemoteSession(serve.get_app_handle("chat"), processor)
    assert "circle" in "".join(session.stream(asked("Describe this image.", drawing())))
    serve.delete("chat")
