"""The chat page as a person meets it, in headless Chromium: upload, ask, read, stop, clear, and what goes wrong.

Without Chromium these tests are skipped, with a warning that says so; with REQUIRE_BROWSER=1 they fail instead.
"""

import os
import re
import shutil
import warnings

import pytest
from PIL import Image
from playwright.sync_api import TimeoutError, sync_playwright

from gradio_helper import PRACTICE_BANNER
from tests.fake_model import echoing, fake_processor, saying
from tests.test_gradio_helper import served
from tests.test_media import brightening, write_video

PROCESSOR = fake_processor()
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PATIENCE_MS = 30_000


def browser_path() -> str:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path:
        return path
    missing = "Chromium is not installed, so the page was not tested in a browser. Install it (apt install chromium)."
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(f"{missing} REQUIRE_BROWSER=1 makes this a failure.", pytrace=False)
    warnings.warn(missing, stacklevel=1)
    pytest.skip(missing)


@pytest.fixture(scope="module")
def browser():
    path = browser_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield browser
        browser.close()


class Visitor:
    """A browser tab, spoken of in the words of the page."""

    def __init__(self, tab):
        self.tab = tab
        self.input = tab.get_by_placeholder("Ask about a picture")
        self.conversation = tab.get_by_role("log")
        self.answers = tab.get_by_test_id("bot")
        self.questions = tab.get_by_test_id("user")

    def upload(self, path) -> None:
        self.tab.locator("input[type=file]").first.set_input_files(str(path))
        self.tab.locator(".thumbnails").get_by_role("button", name="Remove").first.wait_for()

    def ask(self, words: str) -> None:
        self.input.fill(words)
        self.submit(self.questions.get_by_text(words))

    def submit(self, shows) -> None:
        """Click Submit until `shows` is there: a click counts for nothing while the last answer is not quite over."""
        for _ in range(15):
            self.click("Submit")
            try:
                return shows.wait_for(timeout=2000)
            except TimeoutError:
                continue
        pytest.fail(f"Submit did not lead to {shows}")

    def said(self) -> list[str]:
        """The answers, without the line below each."""
        return [text.rpartition("\nFirst word after")[0] for text in self.answers.all_inner_texts()]

    def click(self, name: str) -> None:
        self.tab.get_by_text(name, exact=True).click()

    def wait_for(self, words: str) -> None:
        self.tab.get_by_text(words, exact=True).first.wait_for()


@pytest.fixture
def visit(browser):
    """visit(url) -> Visitor. Whatever the tab asks of another machine is refused, and fails the test."""
    outside, tabs = [], []

    def check(route):
        if route.request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            return route.continue_()
        outside.append(route.request.url)
        return route.abort()

    def open_tab(url: str) -> Visitor:
        tab = browser.new_page(viewport={"width": 1000, "height": 900})
        tabs.append(tab)
        tab.set_default_timeout(PATIENCE_MS)
        tab.route("**/*", check)
        tab.goto(url)
        visitor = Visitor(tab)
        visitor.input.wait_for()
        return visitor

    yield open_tab
    for tab in tabs:
        tab.close()
    assert outside == []


@pytest.fixture
def red_square(tmp_path):
    Image.new("RGB", (60, 60), "red").save(tmp_path / "square.png")
    return tmp_path / "square.png"


def test_a_picture_is_uploaded_asked_about_and_the_answer_read(visit, red_square):
    model = saying("A red square.", PROCESSOR, gated=True, practice=True)
    with served(model) as demo:
        visitor = visit(demo.local_url)
        visitor.wait_for(PRACTICE_BANNER)
        visitor.upload(red_square)
        visitor.ask("What is this?")
        model.allow(5)
        visitor.wait_for("A red")  # while it is written
        assert visitor.input.input_value() == ""
        visitor.input.fill("And now?")  # people type on
        model.allow()
        visitor.wait_for("A red square.")
        visitor.conversation.locator("img").wait_for()
        assert visitor.input.input_value() == "And now?"
        visitor.submit(visitor.questions.get_by_text("And now?"))
        visitor.tab.wait_for_function("document.querySelectorAll('[data-testid=bot]').length == 2")
        assert len(model.calls[-1]["image_grid_thw"]) == 1  # the picture of the first question is still in it


def test_a_picture_is_looked_at_before_the_question_is_asked(visit, red_square):
    model = echoing(PROCESSOR)
    with served(model) as demo:
        visitor = visit(demo.local_url)
        visitor.upload(red_square)
        while not model.seen:
            visitor.tab.wait_for_timeout(50)
        visitor.ask("What is this?")
        visitor.answers.get_by_text("What is this?", exact=True).wait_for()
        assert model.seen == 1


def test_a_line_says_what_is_done_and_then_what_it_took(visit, red_square):
    model = saying("A red square.", PROCESSOR, gated=True)
    with served(model) as demo:
        visitor = visit(demo.local_url)
        visitor.upload(red_square)
        visitor.ask("What is this?")
        visitor.answers.get_by_text(re.compile(r"Reading \d+ of \d+ tokens")).wait_for()
        model.allow()
        visitor.answers.get_by_text(re.compile(r"First word after .* tokens known before")).wait_for()


def test_a_video_is_uploaded_and_answered(visit, tmp_path):
    model = echoing(PROCESSOR)
    with served(model) as demo:
        visitor = visit(demo.local_url)
        visitor.upload(write_video(tmp_path / "clip.webm", brightening(6), codec="libvpx-vp9"))
        visitor.ask("What moves?")
        visitor.answers.get_by_text("What moves?", exact=True).wait_for()
        visitor.conversation.locator("video").wait_for()
        assert "pixel_values_videos" in model.calls[0]


def stop_in_time(visitor, model) -> None:
    """Click Stop while the gated `model` answers: it must be told before its hundredth word, and is free afterwards."""
    visitor.click("Stop")
    while not model.told_to_stop.wait(0.5) and len(model.said) < 100:
        model.allow(1)
    assert len(model.said) < 100
    model.allow()


def test_stop_ends_the_answer_and_the_next_question_is_answered(visit):
    model = saying("abcdefgh" * 20, PROCESSOR, gated=True)
    with served(model) as demo:
        visitor = visit(demo.local_url)
        visitor.ask("Tell me the alphabet")
        model.allow(8)
        visitor.wait_for("abcdefgh")
        stop_in_time(visitor, model)
        visitor.ask("Once more")
        visitor.wait_for("abcdefgh" * 20)
        assert visitor.answers.count() == 2
        assert visitor.answers.first.inner_text().startswith("abcdefgh")  # what was written is kept
        assert len(visitor.answers.first.inner_text()) < 100


def test_stop_before_the_first_word(visit):
    model = saying("abc" * 60, PROCESSOR, gated=True)
    with served(model) as demo:
        visitor = visit(demo.local_url)
        visitor.ask("Slow question")
        visitor.answers.get_by_text(re.compile("Reading")).wait_for()
        stop_in_time(visitor, model)
        visitor.ask("Quick question")
        visitor.wait_for("abc" * 60)


@pytest.mark.parametrize("button", ["Clear", "the bin above the conversation"])
def test_clear_forgets_the_conversation(visit, red_square, button):
    model = echoing(PROCESSOR)
    with served(model) as demo:
        visitor = visit(demo.local_url)
        visitor.upload(red_square)
        visitor.ask("first")
        visitor.answers.get_by_text("first", exact=True).wait_for()
        if button == "Clear":
            visitor.click("Clear")
        else:
            visitor.tab.get_by_role("button", name="Clear").first.click()
        visitor.wait_for("Upload a picture or a video, then ask about it.")
        visitor.ask("second")
        visitor.answers.get_by_text("second", exact=True).wait_for()
        assert "first" not in PROCESSOR.tokenizer.decode(model.calls[-1]["input_ids"][0])
        assert "image_grid_thw" not in model.calls[-1]


def test_a_problem_is_told_in_the_page_and_nothing_is_lost(visit, tmp_path):
    (tmp_path / "letter.png").write_bytes(b"Dear model,")
    with served(echoing(PROCESSOR)) as demo:
        visitor = visit(demo.local_url)
        visitor.ask("before")
        visitor.answers.get_by_text("before", exact=True).wait_for()
        visitor.upload(tmp_path / "letter.png")
        visitor.input.fill("What does it say?")
        visitor.submit(visitor.tab.get_by_text("This file is not a picture that can be opened. Try a JPEG or a PNG."))
        assert visitor.said() == ["before"]
        assert visitor.answers.is_visible()
        assert visitor.input.input_value() == "What does it say?"  # ready to be sent without the file
        visitor.tab.locator(".thumbnails").get_by_role("button", name="Remove").click()
        visitor.submit(visitor.answers.get_by_text("What does it say?", exact=True))


HOSTILE = (
    '<img src="http://example.com/a.png" onerror="window.hacked=1"><script>window.hacked=1</script>\n'
    "![b](http://example.com/b.png) [c](javascript:window.hacked=1) &lt;b&gt; **bold** $$x$$"
)


def test_html_and_markdown_are_shown_and_neither_run_nor_fetched(visit):
    with served(echoing(PROCESSOR)) as demo:
        visitor = visit(demo.local_url)
        visitor.input.fill(HOSTILE)
        visitor.submit(visitor.questions.get_by_text("$$x$$"))
        visitor.answers.get_by_text("First word after").wait_for()  # its end
        assert visitor.questions.inner_text() == HOSTILE
        assert visitor.said() == [HOSTILE]
        assert visitor.tab.evaluate("window.hacked") is None
        assert visitor.conversation.locator("img, script, a, strong").count() == 0


def test_no_button_sends_a_picture_to_a_public_site(visit, red_square):
    with served(echoing(PROCESSOR)) as demo:
        visitor = visit(demo.local_url)
        visitor.upload(red_square)
        visitor.ask("What is this?")
        visitor.answers.get_by_text("What is this?", exact=True).wait_for()
        assert visitor.tab.get_by_role("button", name="Share").count() == 0  # none that can be seen or reached by key
        assert visitor.tab.get_by_role("button", name="Fullscreen").count() == 1  # its neighbour, so the name is right
