"""A company's proxy in the environment: a page on this machine starts without it (reproduction R43)."""

import os

import pytest

from adapters.loopback import reached_directly
from tests.fake_model import echoing, fake_processor
from tests.loopback import PROXIES, refusing_proxy
from tests.test_gradio_helper import served


def test_the_page_starts_and_the_proxy_hears_nothing_of_it(monkeypatch):
    with refusing_proxy(monkeypatch) as asked, served(echoing(fake_processor())) as demo:
        assert demo.local_url.startswith("http://127.0.0.1:")
    assert asked == []


@pytest.mark.parametrize("name", PROXIES)
def test_the_page_starts_where_nobody_is_at_the_proxys_address(monkeypatch, name):
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    with served(echoing(fake_processor())) as demo:
        assert demo.local_url


@pytest.mark.parametrize(("before", "inside"), [
    (None, "127.0.0.1,localhost,::1"), ("intra.example", "intra.example,127.0.0.1,localhost,::1"),
])  # fmt: skip
def test_what_the_environment_says_of_others_stays_and_comes_back(monkeypatch, before, inside):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    if before:
        monkeypatch.setenv("no_proxy", before)
    environment = dict(os.environ)
    with reached_directly():
        assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == inside
    assert dict(os.environ) == environment
