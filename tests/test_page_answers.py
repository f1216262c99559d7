"""Answers as larger models write them (tests/written_answers.py), read in headless Chromium: on a desktop and a phone,
light and dark.

What leads to an answer is in test_page_browser.py.
"""

import re

import pytest
from PIL import Image

from tests.test_page_access import serious
from tests.test_page_browser import browser, visit
from tests.written_answers import LONG, TEXTS, WrittenSession, served_texts

__all__ = ["browser", "visit"]  # fixtures

DESKTOP = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"}
PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}
TYPESET = ("table", "lists", "code", "latex", "arabic", "hostile", "unbroken")
END = re.compile(r"first word \d")


@pytest.fixture(scope="module")
def page(browser):
    with served_texts(WrittenSession()) as demo:
        yield demo


@pytest.fixture
def session(page):
    session = page.session
    session.begin()
    session.answers.clear()
    yield session
    session.allow()


def ask(visitor, *questions: str) -> None:
    """Each of them, and wait for its answer."""
    for number, question in enumerate(questions):
        before = visitor.answers.get_by_text(END).count() if number else 0
        visitor.ask(question)
        visitor.answers.get_by_text(END).nth(before).wait_for()


# ---- what is seen ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desktop, light", "phone, dark"])
def test_answers_are_typeset_and_fit_the_window(visit, page, session, window):
    blocked = []
    visitor = visit(page.local_url, **window)
    visitor.tab.on("console", lambda message: blocked.append(message.text))
    ask(visitor, *TYPESET)
    answers = visitor.conversation.locator(".answer")
    table, lists, code, latex, arabic, hostile, unbroken = (answers.nth(number) for number in range(len(TYPESET)))
    assert table.locator("table tr").count() == 4 and table.locator("strong").first.inner_text() == "thing by thing"
    aligned = "cells => cells.map((cell) => getComputedStyle(cell).textAlign)"
    assert table.locator("th").evaluate_all(aligned) == ["start", "center", "right", "right"]
    assert lists.locator("ol ul li").count() == 2
    assert code.locator("pre").first.evaluate("e => getComputedStyle(e).fontFamily") == "ui-monospace, monospace"
    assert latex.locator(".katex").count() == 10 and latex.locator(".katex-display").count() == 3
    assert latex.locator(".katex-error").count() == 0
    assert "costs $5 to $10, or 7$ in all" in latex.inner_text()
    assert visitor.tab.evaluate("document.fonts.check('16px KaTeX_Main')")
    assert arabic.locator("ul").evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert hostile.locator("img, script, iframe, svg, style, form, input, details").count() == 0
    assert visitor.tab.evaluate("window.hacked") is None
    assert unbroken.inner_text() == TEXTS["unbroken"]
    width = window["viewport"]["width"]
    assert visitor.tab.evaluate("document.documentElement.scrollWidth") == width
    assert answers.evaluate_all("all => all.filter((e) => e.scrollWidth > e.clientWidth + 1).length") == 0
    assert serious(visitor, ".message .answer", ".message small") == set()
    assert [text for text in blocked if "Content Security Policy" in text] == []


ENDS = """line => {
  const place = (begin) => {
    const letter = document.createRange(), text = line.firstChild;
    letter.setStart(text, begin < 0 ? text.length + begin : begin);
    letter.setEnd(text, letter.startOffset + 1);
    return letter.getBoundingClientRect().left;
  };
  return [place(0), place(-1)];
}"""


def test_questions_read_from_right_to_left_as_well(visit, page, session):
    visitor = visit(page.local_url)
    ask(visitor, "هل هذه (Qwen2-VL) قطة؟")
    first, last = visitor.questions.locator(".md").evaluate(ENDS)
    assert first > last
    assert visitor.input.evaluate("field => getComputedStyle(field).unicodeBidi") == "plaintext"  # while it is typed


def test_links_open_elsewhere_and_tell_nothing(visit, page, session):
    visitor = visit(page.local_url)
    ask(visitor, "lists")
    (link, *_) = visitor.conversation.locator("a").evaluate_all("all => all.map((a) => [a.href, a.target, a.rel])")
    assert link == ["https://example.com/list", "_blank", "noopener noreferrer"]


def test_messages_and_code_are_copied_byte_for_byte(visit, page, session):
    visitor = visit(page.local_url)
    copied = "navigator.clipboard.readText()"
    for number, name in enumerate(("code", "latex", "hostile", "arabic")):
        ask(visitor, name)
        visitor.press("Copy message")
        assert visitor.tab.evaluate(copied) == TEXTS[name]
        if not number:
            visitor.conversation.locator(".code button").first.click()
            visitor.wait_for("Copied")
            assert visitor.tab.evaluate(copied) == TEXTS["code"].split("```")[1].removeprefix("python\n")
        visitor.click("Clear")
        visitor.conversation.locator(".answer").wait_for(state="detached")


# ---- following the words --------------------------------------------------------------------------------------------


POSITION = "log => [log.scrollTop, log.scrollHeight - log.clientHeight - log.scrollTop]"


def test_whoever_scrolls_up_is_left_alone_and_at_the_end_the_page_follows_again(visit, page, session):
    session.begin(gated=True)
    session.answers["tell"] = LONG
    visitor = visit(page.local_url, **DESKTOP)
    log, button = visitor.conversation, visitor.tab.get_by_role("button", name="New words")

    def written(count: int) -> None:
        before = visitor.answers.last.inner_text()
        session.allow(count)
        visitor.wait_until(lambda: len(visitor.answers.last.inner_text()) > len(before) + count)
        visitor.tab.wait_for_timeout(400)  # Gradio's own scrolling came after 300 ms

    visitor.ask("tell")
    written(500)
    assert log.evaluate(POSITION)[1] < 2
    log.hover()
    visitor.tab.mouse.wheel(0, -50)
    visitor.tab.wait_for_timeout(200)
    place, _ = log.evaluate(POSITION)
    written(150)
    assert log.evaluate(POSITION)[0] == place
    button.click()
    assert log.evaluate(POSITION)[1] < 2
    written(150)
    assert log.evaluate(POSITION)[1] < 2 and not button.is_visible()
    visitor.tab.mouse.wheel(0, -400)
    visitor.tab.wait_for_timeout(200)
    visitor.tab.mouse.wheel(0, 5000)
    visitor.tab.wait_for_timeout(200)
    written(100)
    assert log.evaluate(POSITION)[1] < 2


def test_the_end_of_the_conversation_stays_in_view_while_the_input_box_grows(visit, page, session, tmp_path):
    visitor = visit(page.local_url, **DESKTOP)
    ask(visitor, "lists", "table")
    assert visitor.conversation.evaluate(POSITION)[1] < 2
    Image.new("RGB", (336, 224), "white").save(tmp_path / "white.png")
    visitor.upload(tmp_path / "white.png")
    visitor.tab.wait_for_timeout(200)
    assert visitor.conversation.evaluate(POSITION)[1] < 2
    visitor.tab.set_viewport_size({"width": 1280, "height": 600})
    visitor.tab.wait_for_timeout(200)
    assert visitor.conversation.evaluate(POSITION)[1] < 2


# ---- the end of an answer -------------------------------------------------------------------------------------------


def set_length(visitor, tokens: int) -> None:
    visitor.tab.get_by_role("button", name="Settings").first.click()
    length = visitor.tab.get_by_role("spinbutton", name="Length")
    length.fill(str(tokens))
    length.press("Tab")


def test_a_length_that_is_typed_as_soon_as_it_can_be_holds_for_the_next_answer(visit, page, session):
    visitor = visit(page.local_url)
    visitor.tab.evaluate("requestAnimationFrame = (draw) => setTimeout(draw, 300)")  # a slow machine
    set_length(visitor, 64)
    visitor.tab.wait_for_timeout(700)
    ask(visitor, "table")
    assert session.calls[-1][1]["max_new_tokens"] == 64


def test_an_answer_that_hit_its_length_says_so_and_goes_on(visit, page, session):
    visitor = visit(page.local_url)
    set_length(visitor, 64)
    ask(visitor, "table")
    visitor.answers.get_by_text("Cut at 64 tokens").wait_for()
    go_on = visitor.conversation.get_by_role("button", name="Continue")
    go_on.click()
    visitor.answers.get_by_text("a very long name of a thing").wait_for()  # in what follows, which is cut as well
    go_on.click()
    visitor.answers.get_by_text("in all").wait_for()
    go_on.wait_for(state="detached")
    visitor.press("Copy message")
    assert visitor.tab.evaluate("navigator.clipboard.readText()").strip() == TEXTS["table"].strip()
    messages, options = session.calls[-1]
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert options["continue_final_message"] and TEXTS["table"].startswith(messages[-1]["content"])


# ---- boxes ----------------------------------------------------------------------------------------------------------


def test_boxes_stand_below_the_whole_text(visit, page, session, tmp_path):
    Image.new("RGB", (336, 224), "white").save(tmp_path / "white.png")
    visitor = visit(page.local_url)
    visitor.upload(tmp_path / "white.png")
    ask(visitor, "boxes")
    picture = visitor.conversation.locator(".bot-row img")
    picture.wait_for()
    text = visitor.conversation.get_by_text(TEXTS["boxes"])
    assert text.bounding_box()["y"] < picture.bounding_box()["y"]
    assert visitor.conversation.locator(".message-buttons button:visible").count() == 5
    ask(visitor, "coordinates")
    assert visitor.conversation.locator(".bot-row img").count() == 1
