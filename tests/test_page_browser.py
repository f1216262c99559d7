"""The chat page as a person meets it, in headless Chromium: upload, ask, read, stop, change one's mind, save, come
back, and what goes wrong.

One page serves all tests, with a model that each test gives its words. Without Chromium these tests are skipped, with
a warning that says so; with REQUIRE_BROWSER=1 they fail instead.
"""

import base64
import itertools
import os
import re
import socket
import time
import warnings

import pytest
from PIL import Image
from playwright.sync_api import TimeoutError

from chat_page.header import PRACTICE
from tests.chromium import NOT_INSTALLED, chromium, chromium_path
from tests.fake_model import echo, echoing, fake_processor, words
from tests.test_gradio_helper import served
from tests.test_media import brightening, write_video

PROCESSOR = fake_processor()
TIMEOUT_MS = 30_000
POLL_MS = 20  # between two looks whether something has happened on the server
COST = re.compile(r"first word \d.*")
DEFAULT = {"width": 1000, "height": 900}
CLIPBOARD = ["clipboard-read", "clipboard-write"]


def require_chromium() -> None:
    if chromium_path():
        return
    missing = f"The page was not tested in a browser: {NOT_INSTALLED}"
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(f"{missing} REQUIRE_BROWSER=1 makes this a failure.", pytrace=False)
    warnings.warn(missing, stacklevel=1)
    pytest.skip(missing)


@pytest.fixture(scope="module")
def browser():
    require_chromium()
    with chromium() as browser:
        yield browser


class Visitor:
    """A browser tab, spoken of in the words of the page."""

    def __init__(self, tab):
        self.tab = tab
        self.input = tab.get_by_placeholder("Ask about a picture")
        self.conversation = tab.get_by_role("log")
        self.answers = self.conversation.locator(".bot-row .message-content")
        self.questions = self.conversation.locator(".user-row .message-content")
        self.pictures = self.conversation.locator(".user-row .picture > img:not([hidden])")

    def upload(self, *paths) -> None:
        before = self.tab.locator(".thumbnails .thumbnail-item").count()
        self.tab.locator("input[type=file]").first.set_input_files(list(map(str, paths)))
        self.in_box(before + len(paths))

    def in_box(self, files: int) -> None:
        """Wait until that many files are in the input box."""
        self.tab.wait_for_function(f"document.querySelectorAll('.thumbnails .thumbnail-item').length == {files}")

    def ask(self, question: str) -> None:
        self.input.fill(question)
        self.submit(self.questions.get_by_text(question).last)

    def submit(self, shows) -> None:
        """Click Submit until `shows` is there: a click counts for nothing while the last answer is not quite over, and
        the button is hidden once a question was taken.
        """
        button = self.tab.get_by_text("Submit", exact=True)
        for _ in range(15):
            if button.is_visible():
                button.click()
            try:
                return shows.wait_for(timeout=2000)
            except TimeoutError:
                continue
        pytest.fail(f"Submit did not lead to {shows}")

    def ends(self, number: int = 1) -> None:
        """Wait until so many answers are complete, and the page is ready for the next question."""
        self.answers.get_by_text(COST).nth(number - 1).wait_for()
        self.conversation.locator(".message-buttons button").last.click(trial=True)  # it is disabled while one grows

    def said(self) -> list[str]:
        """The answers, without the line below each."""
        return [text.partition("\nfirst word ")[0].rstrip("\n") for text in self.answers.all_inner_texts()]

    def stored(self) -> str:
        """What the browser stores of the conversation."""
        return self.tab.evaluate("sessionStorage['qwen2-vl-chat']")

    def asked(self) -> list[str]:
        return [text for text in self.questions.all_inner_texts() if text]

    def click(self, name: str) -> None:
        self.tab.get_by_text(name, exact=True).click()

    def press(self, name: str, number: int = -1) -> None:
        """One of Gradio's small buttons under the messages, by default the last of them."""
        self.conversation.get_by_role("button", name=name, exact=True).nth(number).click()

    def wait_for(self, text: str) -> None:
        self.tab.get_by_text(text, exact=True).first.wait_for()

    def wait_until(self, happened) -> None:
        """For what happens on the server. The tab's requests come through this very thread, so it must not block."""
        for _ in range(TIMEOUT_MS // POLL_MS):
            if happened():
                return
            self.tab.wait_for_timeout(POLL_MS)
        pytest.fail("It did not happen in time.")


BLANK = "about:blank"


@pytest.fixture
def visit(browser):
    """visit(url) -> Visitor, in a tab of its own, which knows nothing of the tests before: tabs are used again, because
    the first load of a page takes seconds. With fresh=False, it knows what the browser keeps for all of its tabs.

    Whatever the tab asks of another machine fails the test; the browser finds none (see `tests.chromium`).
    """
    context = browser.contexts[0] if browser.contexts else browser.new_context(permissions=CLIPBOARD)
    outside, tabs = [], []

    def check(request):
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            outside.append(request.url)

    def open_tab(url: str, *, viewport=DEFAULT, color_scheme="light", locale="", fresh=True) -> Visitor:
        again = (tab for tab in context.pages if tab.url == BLANK)
        tab = browser.new_page(locale=locale) if locale else next(again, None) or context.new_page()
        tabs.append(tab)
        tab.set_default_timeout(TIMEOUT_MS)
        tab.set_viewport_size(viewport)
        tab.emulate_media(color_scheme=color_scheme)
        tab.on("request", check)
        tab.bring_to_front()
        tab.goto(f"{url}favicon.ico")  # a page of the same origin, on which nothing runs
        tab.evaluate("fresh => { sessionStorage.clear(); if (fresh) localStorage.clear(); }", fresh)
        tab.goto(url)
        visitor = Visitor(tab)
        visitor.input.wait_for()
        tab.wait_for_function("sessionStorage['qwen2-vl-chat'] != null")  # the server has heard of it
        return visitor

    yield open_tab
    for tab in tabs:
        if tab.context != context:
            tab.close()
        elif not tab.is_closed():
            tab.remove_listener("request", check)
            tab.goto(BLANK)
    assert outside == []


@pytest.fixture(scope="module")
def page(browser):
    model = echoing(PROCESSOR, practice=True)
    with served(model) as demo:
        demo.model = model
        yield demo


@pytest.fixture
def model(page):
    """The page's model, which repeats the question until a test tells it what to say."""
    page.model.begin(echo(PROCESSOR))
    yield page.model
    page.model.allow()


@pytest.fixture
def visitor(visit, page, model):
    return visit(page.local_url)


GREYS = itertools.count(10)


@pytest.fixture
def square(tmp_path):
    """A picture that no other test has shown: the session forgets nothing between them."""
    Image.new("L", (60, 60), next(GREYS)).save(tmp_path / "square.png")
    return tmp_path / "square.png"


def last_prompt(model) -> str:
    return PROCESSOR.tokenizer.decode(model.calls[-1]["input_ids"][0])


# ---- asking ---------------------------------------------------------------------------------------------------------


def test_a_picture_is_uploaded_asked_about_and_the_answer_read(visitor, model, square):
    model.begin(words("A grey square.", PROCESSOR), gated=True)
    visitor.conversation.get_by_text(re.sub(r"\*", "", PRACTICE)[:40]).wait_for()
    visitor.upload(square)
    visitor.ask("What is this?")
    visitor.answers.get_by_text(re.compile(r"Reading \d+ of \d+ tokens")).wait_for()
    model.allow(6)
    visitor.wait_for("A grey")  # while it is written
    assert visitor.input.input_value() == ""
    visitor.input.fill("And now?")  # people type on
    model.allow()
    visitor.ends()
    assert visitor.said() == ["A grey square."]
    visitor.pictures.wait_for()
    assert visitor.input.input_value() == "And now?"
    visitor.submit(visitor.questions.get_by_text("And now?"))
    visitor.ends(2)
    assert len(model.calls[-1]["image_grid_thw"]) == 1  # the picture of the first question is still in it


GIVE = """([kind, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)), files = new DataTransfer();
  files.items.add(new File([bytes], `${kind}.png`, { type: "image/png" }));
  const box = document.querySelector("textarea[placeholder^='Ask about']");
  const settings = { bubbles: true, cancelable: true };
  box.dispatchEvent(kind == "drop"
    ? new DragEvent(kind, { ...settings, dataTransfer: files })
    : new ClipboardEvent(kind, { ...settings, clipboardData: files }));
}"""


def test_pictures_come_by_button_by_drag_and_by_paste_and_media_alone_are_a_message(visitor, model, square, tmp_path):
    data = base64.b64encode(square.read_bytes()).decode()
    visitor.upload(square, write_video(tmp_path / "clip.webm", brightening(6), codec="libvpx-vp9"))
    for files, way in ((3, "drop"), (4, "paste")):
        visitor.tab.evaluate(GIVE, [way, data])
        visitor.in_box(files)
    visitor.submit(visitor.pictures.nth(1))
    visitor.conversation.locator("video").wait_for()
    visitor.ends()
    # Not the last call: on a slow machine that may be the prefetch of what is still in the box.
    assert 3 in [len(call.get("image_grid_thw", ())) for call in model.calls]
    assert "pixel_values_videos" in model.calls[-1]


def test_examples_show_their_pictures_whole(visitor):
    picture = visitor.tab.locator(".example img").first
    picture.wait_for()
    frames = picture.evaluate(
        "img => [img, img.parentElement].map(e => e.getBoundingClientRect()).map(box => [box.width, box.height])"
    )
    assert frames == [[54, 36]] * 2  # nothing is cut off: the practice model's examples are 3:2


def test_an_example_is_asked_with_its_pictures(visitor, model):
    visitor.click("Which picture has a green square?")
    visitor.ends()
    assert visitor.said() == ["Which picture has a green square?"]
    assert len(model.calls[-1]["image_grid_thw"]) == 2


def test_a_picture_is_encoded_before_the_question_is_asked(visitor, model, square):
    visitor.upload(square)
    visitor.wait_until(lambda: model.seen)
    visitor.ask("What is this?")
    visitor.ends()
    assert model.seen == 1


def test_a_picture_that_is_taken_away_is_not_encoded_any_longer(visitor, model, square):
    model.may_look.clear()
    visitor.upload(square)
    visitor.wait_until(model.looking.is_set)
    visitor.tab.locator(".thumbnails").get_by_role("button", name="Remove").click()
    visitor.wait_until(model.told_to_stop.is_set)
    model.may_look.set()


def test_the_settings_tell_what_a_picture_costs_and_the_next_answer_heeds_them(visitor, model, square):
    Image.new("RGB", (600, 400), "teal").save(square)
    visitor.tab.get_by_role("button", name="Settings").first.click()
    visitor.upload(square)
    cost = visitor.tab.get_by_text(re.compile(r"\d+ visual tokens"))
    cost.wait_for()
    usual = cost.inner_text()
    budget = visitor.tab.get_by_role("spinbutton", name="Picture detail")
    budget.fill("6")
    budget.press("Tab")
    visitor.tab.wait_for_function("usual => !document.body.innerText.includes(usual)", arg=usual)
    visitor.tab.get_by_label("System prompt").fill("Speak like a pirate.")
    visitor.ask("What is this?")
    visitor.ends()
    assert int(model.calls[-1]["image_grid_thw"].prod()) // 4 <= 6
    assert "system\nSpeak like a pirate.<|im_end|>" in last_prompt(model)


def test_the_cost_that_is_predicted_changes_with_the_frames_of_a_video(visitor, model, tmp_path):
    visitor.tab.get_by_role("button", name="Settings").click()
    visitor.upload(write_video(tmp_path / "clip.webm", brightening(100), codec="libvpx-vp9"))  # of 12 seconds
    cost = visitor.tab.get_by_text(re.compile(r"\d+ visual tokens"))
    cost.wait_for()
    usual = cost.inner_text()
    visitor.tab.get_by_label("Up to 8", exact=True).click()
    visitor.tab.get_by_text(" 16 visual tokens").wait_for()  # 4 for two frames
    assert "16 visual tokens" not in usual
    visitor.tab.get_by_label("Automatic").click()
    visitor.tab.get_by_text(usual).wait_for()


def test_the_second_visitor_sees_a_place_in_the_queue(visit, page, model):
    model.begin(echo(PROCESSOR), gated=True)
    first, second = visit(page.local_url), visit(page.local_url)
    first.ask("first")
    second.input.fill("second")
    second.click("Submit")
    second.tab.get_by_text(re.compile(r"Waiting for others, place 1: \d+ s")).wait_for()
    assert second.asked() == ["second"]  # the own question is there at once
    model.allow()
    first.ends()
    second.ends()
    assert (first.said(), second.said()) == (["first"], ["second"])


# ---- changing one's mind --------------------------------------------------------------------------------------------


def stop_in_time(visitor, model) -> None:
    """Click Stop while the gated `model` waits to say a word: it is told so and free afterwards."""
    visitor.click("Stop")
    visitor.wait_until(model.told_to_stop.is_set)
    model.allow()


@pytest.mark.parametrize("letters", [0, 8])
def test_stop_ends_the_answer_and_the_next_question_is_answered(visitor, model, letters):
    model.begin(words("abcdefgh" * 20, PROCESSOR), gated=True)
    visitor.ask("Tell me the alphabet")
    visitor.answers.get_by_text("Reading").wait_for()
    if letters:
        model.allow(letters)
        visitor.wait_for("abcdefgh")
    stop_in_time(visitor, model)
    if letters:
        visitor.answers.get_by_text("Stopped.").wait_for()
    else:  # the question is back, and no empty answer stays
        visitor.questions.wait_for(state="detached")
        assert visitor.input.input_value() == "Tell me the alphabet"
    visitor.ask("Once more")
    visitor.ends()
    *stopped, whole = visitor.answers.all_inner_texts()
    assert whole.startswith("abcdefgh" * 20)
    assert [text[:8] for text in stopped] == ["abcdefgh"] * bool(letters)  # what was written is kept
    assert len(visitor.asked()) == 1 + bool(letters)


def test_stop_while_words_are_flowing_is_said_and_stays(visitor, model):
    def slowly(inputs):
        for token in words("word " * 50, PROCESSOR)(inputs):
            time.sleep(0.02)  # as a model does
            yield token

    model.begin(slowly)
    visitor.ask("Tell me a story")
    visitor.answers.get_by_text("word word").wait_for()
    visitor.click("Stop")
    visitor.answers.get_by_text("Stopped.").wait_for()
    visitor.tab.reload()
    visitor.answers.get_by_text("word word").wait_for()
    visitor.answers.get_by_text("Stopped.").wait_for()
    assert len(visitor.answers.inner_text()) < len("word " * 50)


def test_closing_the_tab_frees_the_model(visitor, visit, page, model):
    model.begin(words("abc" * 100, PROCESSOR), gated=True)
    visitor.ask("Slow question")
    model.allow(3)
    visitor.wait_for("abc")
    other = visit(page.local_url)
    visitor.tab.close()
    other.wait_until(model.told_to_stop.is_set)
    model.allow()
    other.ask("Quick question")
    other.ends()


def test_retry_undo_and_edit_keep_the_pictures_of_their_question(visitor, model, square):
    visitor.upload(square)
    visitor.ask("one & <b>")
    visitor.ends()
    visitor.ask("two")
    visitor.ends(2)
    words_before = len(model.said)
    visitor.press("Retry")
    visitor.wait_until(lambda: len(model.said) > words_before)
    visitor.ends(2)
    assert visitor.said() == ["one & <b>", "two"]

    visitor.press("Undo")
    visitor.tab.wait_for_function("() => document.querySelectorAll('.bot-row').length == 1")
    assert visitor.input.input_value() == "two"

    visitor.press("Edit", 0)
    visitor.conversation.get_by_role("textbox").fill("ONE & <b>")
    visitor.tab.keyboard.press("Enter")
    visitor.answers.get_by_text("ONE & <b>", exact=True).wait_for()
    visitor.ends()
    assert (visitor.asked(), visitor.said()) == (["ONE & <b>"], ["ONE & <b>"])
    assert len(model.calls[-1]["image_grid_thw"]) == 1
    assert "one" not in last_prompt(model)

    visitor.press("Undo")
    visitor.wait_for("Describe this image.")
    visitor.in_box(1)
    assert visitor.input.input_value() == "ONE & <b>"


def test_clear_forgets_the_conversation(visitor, model, square):
    visitor.upload(square)
    visitor.ask("first")
    visitor.ends()
    before = visitor.stored()
    visitor.click("Clear")
    visitor.wait_for("Describe this image.")
    visitor.tab.wait_for_function("before => sessionStorage['qwen2-vl-chat'] != before", arg=before)  # the server knows
    visitor.ask("second")
    visitor.ends()
    assert "first" not in last_prompt(model)
    assert "image_grid_thw" not in model.calls[-1]


# ---- boxes, copies, files -------------------------------------------------------------------------------------------


def test_an_answer_with_coordinates_shows_its_text_and_the_boxes_below(visitor, model, square):
    answer = "grey square(0,0),(500,500)"
    model.begin(words(answer, PROCESSOR))
    visitor.upload(square)
    visitor.ask("Locate the square.")
    drawn = visitor.conversation.locator(".bot-row img")
    drawn.wait_for()
    assert drawn.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") >= 480
    visitor.ends()
    assert visitor.said() == [answer]
    visitor.press("Retry")
    visitor.wait_until(lambda: len(model.said) > len(answer))


def test_malformed_coordinates_stay_text(visitor, model, square):
    model.begin(words("square(500,500),(100,9999)", PROCESSOR))
    visitor.upload(square)
    visitor.ask("Locate the square.")
    visitor.ends()
    assert visitor.said() == ["square(500,500),(100,9999)"]
    assert visitor.conversation.locator(".bot-row img").count() == 0


def test_messages_are_copied_as_they_were_written(visit, page, model):
    visitor = visit(page.local_url)
    text = "<b>a &amp; b</b>\n    if x < y: &"
    visitor.ask(text)
    visitor.ends()
    for number in (0, 1):
        visitor.tab.evaluate("navigator.clipboard.writeText('')")
        visitor.press("Copy message", number)
        assert visitor.tab.evaluate("navigator.clipboard.readText()") == text


def test_a_conversation_is_saved_and_loaded_with_its_pictures(visitor, visit, page, model, square, tmp_path):
    visitor.upload(square)
    visitor.ask("one")
    visitor.ends()
    with visitor.tab.expect_download() as download:
        visitor.click("Save conversation")
    download.value.save_as(tmp_path / "conversation.zip")
    other = visit(page.local_url)
    load = other.tab.locator("input[type=file][accept*=zip]")
    load.set_input_files(str(tmp_path / "conversation.zip"))
    other.ends()
    assert other.said() == ["one"]
    other.pictures.wait_for()
    other.ask("two")
    other.ends(2)
    assert len(model.calls[-1]["image_grid_thw"]) == 1

    (tmp_path / "forged.zip").write_bytes(b"PK")
    load.set_input_files(str(tmp_path / "forged.zip"))
    other.tab.get_by_text("not a conversation that was saved").wait_for()
    assert other.said() == ["one", "two"]


# ---- what goes wrong ------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("noticed", [False, True])
def test_a_restarted_server_is_told_and_the_text_goes_on(visit, square, noticed):
    port, first, second = free_port(), echoing(PROCESSOR), echoing(PROCESSOR)
    with served(first, server_port=port) as demo:
        visitor = visit(demo.local_url)
        visitor.upload(square)
        visitor.ask("one")
        visitor.ends()
        # A server that ends while the page has not heard of the answer's end leaves Gradio waiting for it for ever, and
        # there is nothing on the page to tell.
        visitor.tab.wait_for_timeout(1500)
    with served(second, server_port=port):
        notice = visitor.tab.get_by_text(re.compile(r"The server was restarted\. .* question 1\."))
        if noticed:  # as after a visit to another page
            visitor.tab.reload()
            notice.wait_for()
        visitor.ask("two")
        visitor.answers.get_by_text("two", exact=True).wait_for()  # the first answer's line may be back already
        visitor.ends()
        assert notice.is_visible() != noticed
        assert visitor.asked() == ["[a picture that is gone]\none", "two"]
        assert visitor.said() == ["one", "two"]
        assert "one<|im_end|>" in last_prompt(second)
        assert "image_grid_thw" not in second.calls[-1]


def test_a_problem_is_told_in_the_page_and_nothing_is_lost(visitor, model, square):
    visitor.ask("before")
    visitor.ends()
    visitor.upload(square)
    long = "What does it say? " * 2000
    visitor.input.fill(long)
    # The first is in Settings.
    visitor.submit(visitor.tab.get_by_text("This conversation is too long: at least 36").last)
    visitor.wait_until(lambda: visitor.input.input_value() == long)  # ready to be shortened
    assert visitor.said() == ["before"]
    visitor.in_box(1)
    visitor.ask("What does it say?")
    visitor.ends(2)
    assert len(model.calls[-1]["image_grid_thw"]) == 1


def test_what_cannot_be_used_is_said_before_submit_and_the_others_stay(visitor, square, tmp_path):
    (tmp_path / "letter.png").write_bytes(b"Dear model,")
    visitor.input.fill("What does it say?")
    visitor.tab.locator("#question input[type=file]").set_input_files([tmp_path / "letter.png", square])
    visitor.tab.get_by_text("letter.png is not a picture, a video or a document that can be opened.").wait_for()
    visitor.in_box(1)
    Image.effect_noise((300, 200), 80).save(tmp_path / "broken.png")
    with (tmp_path / "broken.png").open("r+b") as file:
        file.truncate(60)
    visitor.tab.locator("#question input[type=file]").set_input_files(tmp_path / "broken.png")
    visitor.tab.get_by_text("broken.png: This picture is damaged").wait_for()
    visitor.in_box(1)
    assert visitor.input.input_value() == "What does it say?"

    with (tmp_path / "large.png").open("wb") as file:
        file.truncate((2048 << 20) + 1)
    pictures = [square.rename(tmp_path / "1.png")]
    for number in range(2, 10):
        Image.new("L", (60, 60), number).save(tmp_path / f"{number}.png")
        pictures.append(tmp_path / f"{number}.png")
    visitor.tab.locator("#question input[type=file]").set_input_files([tmp_path / "large.png", *pictures[1:]])
    visitor.tab.get_by_text("large.png is larger than 2048 MB. A message can have 8 files: 9.png left out.").wait_for()
    visitor.in_box(8)


HOSTILE = (
    '<img src="http://example.com/a.png" onerror="window.hacked=1"><script>window.hacked=1</script>\n'
    "![b](http://example.com/b.png) [c](javascript:window.hacked=1) &lt;b&gt; <!-- &copy <details> $$x$$ \\(y\\)"
)


def test_html_and_markdown_are_shown_and_neither_run_nor_fetched(visitor):
    visitor.input.fill(HOSTILE)
    visitor.submit(visitor.questions.get_by_text("$$x$$"))
    visitor.ends()
    assert visitor.asked() == [HOSTILE]  # as it was typed
    assert "<script>window.hacked=1</script>" in visitor.said()[0]
    assert visitor.tab.evaluate("window.hacked") is None
    assert visitor.conversation.locator("img, script, details").count() == 0
    assert visitor.conversation.locator("a").evaluate_all("links => links.map((link) => link.href)") == [
        "http://example.com/b.png"
    ]


@pytest.mark.parametrize("locale", ["en-US", "de-DE"])
def test_no_button_sends_a_picture_to_a_public_site(visit, page, model, square, locale):
    visitor = visit(page.local_url, locale=locale)
    visitor.upload(square)
    visitor.ask("What is this?")
    visitor.ends()
    buttons = visitor.conversation.locator(".message-buttons button:visible")
    assert buttons.count() == 5  # copy and edit the question; copy, retry and undo the answer; none for the picture
