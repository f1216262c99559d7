"""The Content-Security-Policy in Chromium: what the page needs is not blocked, and what reaches for elsewhere is."""

import pytest

from tests.fake_model import words
from tests.test_media import brightening, write_video
from tests.test_page_browser import PROCESSOR, browser, model, page, square, visit, visitor

__all__ = ["browser", "model", "page", "square", "visit", "visitor"]  # fixtures

LISTEN = """
window.blocked = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.blocked.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""
REACH = """async (address) => {
  const tried = {};
  const load = (name, element, attribute) => new Promise((done) => {
    element.onload = () => done(tried[name] = "loaded");
    element.onerror = () => done(tried[name] = "refused");
    element[attribute] = address;
    document.body.append(element);
  });
  await fetch(address).then(() => (tried.fetch = "loaded"), () => (tried.fetch = "refused"));
  await load("picture", new Image(), "src");
  await load("script", document.createElement("script"), "src");
  await load("style", Object.assign(document.createElement("link"), { rel: "stylesheet" }), "href");
  return tried;
}"""


@pytest.fixture
def listened(visit, page):
    """A visitor whose tab writes down what the policy blocks."""
    visitor = visit(page.local_url)
    visitor.tab.add_init_script(LISTEN)
    visitor.tab.reload()
    visitor.input.wait_for()
    return visitor


def blocked(visitor) -> list[str]:
    return visitor.tab.evaluate("window.blocked")


def test_nothing_that_the_page_needs_is_blocked_or_closed(listened, model, square, tmp_path):
    refused = []
    listened.tab.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
    listened.tab.reload()
    listened.input.wait_for()
    assert blocked(listened) == []
    listened.upload(square)
    listened.upload(write_video(tmp_path / "clip.mp4", brightening(6)))
    model.begin(words("red circle(100,200),(300,400)", PROCESSOR))
    listened.ask("Locate the red circle.")
    listened.ends()
    listened.conversation.locator(".bot-row img").wait_for()
    listened.conversation.locator(".user-row video").wait_for()
    listened.tab.get_by_role("button", name="Settings").click()
    with listened.tab.expect_download() as saved:
        listened.click("Save conversation")
    saved.value.save_as(tmp_path / "conversation.zip")
    listened.tab.locator("input[type=file]").last.set_input_files(str(tmp_path / "conversation.zip"))
    listened.conversation.locator(".bot-row img").wait_for()
    assert (blocked(listened), refused) == ([], [])


def test_what_reaches_for_elsewhere_is_blocked_by_the_browser(listened):
    """The address is one of this machine, so that the test stays here if the policy does not hold."""
    tried = listened.tab.evaluate(REACH, "http://127.0.0.1:9/a")
    assert set(tried.values()) == {"refused"}
    assert {line.split()[0] for line in blocked(listened)} >= {
        "connect-src",
        "img-src",
        "script-src-elem",
        "style-src-elem",
    }
