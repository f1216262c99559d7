"""The chat page for people who cannot see it well, have no mouse, or hold it in one hand; and who else hears of it.

axe-core looks at the page as it is met, with a picture in the input box, and with an answer that has a box in it. What
it finds in Gradio's own components is listed here by rule; in what is ours it must find nothing serious.
"""

import re
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.fake_model import words
from tests.test_page_browser import PROCESSOR, browser, model, page, square, visit, visitor

__all__ = ["browser", "model", "page", "square", "visit", "visitor"]  # fixtures

SERIOUS = ("serious", "critical")
# What we write ourselves: text above and below the conversation, and what stands in a message.
OURS = (".notice", ".placeholder", ".quiet", ".message small", ".message .answer")
GRADIO = {
    "aria-required-children": "Chatbot: the examples are a list whose children are buttons, not list items",
    "aria-required-parent": "MultimodalTextbox: a thumbnail is a list item without a list",
    "button-name": "Chatbot: the button around a picture has no name where the picture has no alternative text",
}
PHONE = {"width": 360, "height": 740}


def serious(visitor, *where: str) -> set[str]:
    """Rules that are broken, within `where` or anywhere."""
    there = [[selector] for selector in where if visitor.tab.locator(selector).count()]
    found = Axe().run(visitor.tab, {"include": there} if there else None).response["violations"]
    return {finding["id"] for finding in found if finding["impact"] in SERIOUS}


def answered(visitor, model, question: str = "Locate the red circle.") -> None:
    """A question about the picture in the input box, and an answer with a box in it; the settings are open."""
    model.begin(words("red circle(100,200),(300,400)", PROCESSOR))
    visitor.ask(question)
    visitor.answers.get_by_text(re.compile(r"first word \d")).wait_for()
    visitor.conversation.locator(".bot-row img").wait_for()
    visitor.tab.get_by_role("button", name="Settings").click()
    visitor.tab.get_by_label("System prompt").wait_for()


# ---- axe-core -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_nothing_serious_is_found_but_what_gradio_is_known_for(visit, page, model, square, colours):
    visitor = visit(page.local_url, color_scheme=colours)
    assert visitor.tab.evaluate("document.body.classList.contains('dark')") == (colours == "dark")
    found = serious(visitor)
    visitor.upload(square)
    found |= serious(visitor)
    answered(visitor, model)
    found |= serious(visitor)
    assert found <= GRADIO.keys()
    assert serious(visitor, *OURS) == set()


def test_what_is_ours_is_on_the_page_when_it_is_looked_at(visitor, model, square):
    visitor.upload(square)
    answered(visitor, model)
    missing = {selector for selector in OURS if not visitor.tab.locator(selector).count()}
    assert missing <= {".notice", ".placeholder"}, "which are there only when the page has something to say"


def test_a_fault_of_ours_would_be_found(visitor):
    visitor.tab.evaluate("document.querySelector('.placeholder').innerHTML = '<img src=\"data:,\"><button></button>'")
    assert serious(visitor, *OURS) == {"image-alt", "button-name"}


# ---- phone ----------------------------------------------------------------------------------------------------------


def test_nothing_overflows_a_phone(visit, page, model, square):
    visitor = visit(page.local_url)
    visitor.tab.set_viewport_size(PHONE)
    visitor.upload(square)
    answered(visitor, model, f"Locate {'a' * 200} and {'word ' * 50}")
    wide = visitor.tab.evaluate("document.documentElement.scrollWidth")
    beyond = visitor.tab.evaluate(
        """[...document.querySelectorAll("body *")].filter((element) => {
          const box = element.getBoundingClientRect();
          return box.width && box.right > innerWidth + 1;
        }).map((element) => element.className)"""
    )
    assert (wide, beyond) == (PHONE["width"], [])


# ---- keyboard -------------------------------------------------------------------------------------------------------


def focused(visitor) -> str:
    """What a screen reader says of where the keyboard is."""
    names = "({ ariaLabel, placeholder, innerText }) => ariaLabel || placeholder || innerText.trim()"
    return visitor.tab.evaluate(f"({names})(document.activeElement)")


def tab_to(visitor, name: str) -> None:
    for _ in range(40):
        if focused(visitor).startswith(name):
            return
        visitor.tab.keyboard.press("Tab")
    pytest.fail(f"The Tab key does not lead to {name}.")


def test_a_question_is_asked_stopped_and_cleared_with_the_keyboard_alone(visitor, model):
    model.begin(words("A long answer. " * 40, PROCESSOR), gated=True)
    keys = visitor.tab.keyboard
    tab_to(visitor, "Ask about a picture")
    keys.type("What is this?")
    keys.press("Enter")
    visitor.questions.get_by_text("What is this?").wait_for()
    model.allow(20)
    visitor.answers.get_by_text("A long answer.").wait_for()
    tab_to(visitor, "Stop")
    keys.press("Enter")
    visitor.answers.get_by_text("Stopped.").wait_for()
    assert model.told_to_stop.is_set()
    tab_to(visitor, "Clear")
    keys.press("Enter")
    visitor.questions.wait_for(state="detached")
    tab_to(visitor, "Ask about a picture")


def test_settings_are_opened_and_changed_with_the_keyboard_alone(visitor):
    keys = visitor.tab.keyboard
    tab_to(visitor, "Settings")
    keys.press("Enter")
    visitor.tab.get_by_label("System prompt").wait_for()
    slider = visitor.tab.get_by_role("slider").first
    tab_to(visitor, slider.get_attribute("aria-label"))
    before = slider.input_value()
    keys.press("ArrowRight")
    assert float(slider.input_value()) > float(before)


def test_where_the_keyboard_is_can_be_seen(visitor):
    for name in ("Submit", "Clear", "Save conversation", "Save as Markdown", "Open conversation", "Settings"):
        tab_to(visitor, name)
        outline = visitor.tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", name


# ---- who hears of it ------------------------------------------------------------------------------------------------


def test_the_browser_asks_nobody_but_the_page(browser, page, model, square):
    asked = []
    with browser.new_page() as tab:
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("websocket", lambda socket: asked.append(socket.url))
        tab.goto(page.local_url)
        tab.get_by_placeholder("Ask about a picture").fill("Hello")
        tab.get_by_placeholder("Ask about a picture").press("Enter")
        tab.get_by_text(re.compile(r"first word \d")).wait_for()
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {urlsplit(page.local_url).netloc}
