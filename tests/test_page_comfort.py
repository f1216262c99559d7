"""The page as a person uses it for an hour, in headless Chromium: windows of all sizes, pictures one can look at, one
button that sends or stops, and nothing that is lost. Answers are those of tests/written_answers.py.

How answers look is in test_page_answers.py, what leads to one in test_page_browser.py.
"""

import base64
import re
import threading

import pytest
from PIL import Image

from chat_page.theme import LAUNCH
from tests.test_media import brightening, write_video
from tests.test_page_answers import END, ask
from tests.test_page_browser import GIVE, browser, square, visit
from tests.written_answers import LONG, WrittenSession, served_texts

__all__ = ["browser", "square", "visit"]  # fixtures

LAPTOP, LARGE, PHONE, LYING = (1280, 800), (1920, 1080), (390, 844), (844, 390)
ZOOMED = (640, 400)  # 1280 × 800 at 200 %


@pytest.fixture(scope="module")
def page(browser):
    with served_texts(WrittenSession()) as demo:
        yield demo


@pytest.fixture
def session(page):
    page.session.begin()
    page.session.answers.clear()
    yield page.session
    page.session.allow()


@pytest.fixture
def visitor(visit, page, session):
    return visit(page.local_url)


def in_window(visit, page, size: tuple[int, int], **settings):
    return visit(page.local_url, viewport={"width": size[0], "height": size[1]}, **settings)


def picture(path, size=(300, 200), colour="teal"):
    Image.new("RGB", size, colour).save(path)
    return path


def stopped(visitor) -> None:
    visitor.answers.get_by_text("Stopped.").wait_for()


# ---- windows --------------------------------------------------------------------------------------------------------

# Buttons and fields in the window: those that are too small, and those whose middle belongs to another.
TARGETS = """least => [...document.querySelectorAll("button, textarea, input, a")].filter((target) => {
  const { width, height, left, top } = target.getBoundingClientRect(), x = left + width / 2, y = top + height / 2;
  const bounds = target.closest("[role=log], .thumbnails")?.getBoundingClientRect();
  const scrolledAway = bounds && (top < bounds.top || top + height > bounds.bottom || left + width > bounds.right);
  if (!target.checkVisibility() || !width || scrolledAway || target.closest(".example, table")) return false;
  const there = document.elementFromPoint(x, y);
  return height < least || width < least || !(target.contains(there) || there?.contains(target));
}).map((target) => target.outerHTML.slice(0, 120))"""
LETTERS_IN_A_LINE = """paragraph => {
  const text = document.createRange();
  text.selectNodeContents(paragraph);
  const lines = new Set([...text.getClientRects()].map(({ bottom }) => Math.round(bottom / 8)));
  return paragraph.innerText.length / lines.size;
}"""


@pytest.mark.parametrize(("size", "share", "colours"), [
    (LAPTOP, 0.6, "light"), (LARGE, 0.6, "light"), (PHONE, 0.6, "light"), (PHONE, 0.6, "dark"), (LYING, 0.4, "light"),
    (ZOOMED, 0.4, "light"),
], ids=["laptop", "large", "phone", "phone in the dark", "phone on its side", "200 %"])  # fmt: skip
def test_the_conversation_has_the_window(visit, page, session, size, share, colours):
    session.answers["tell"] = LONG
    visitor = in_window(visit, page, size, color_scheme=colours)
    ask(visitor, "tell", "table")
    whole = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    assert tuple(visitor.tab.evaluate(whole)) == size
    log = visitor.conversation.bounding_box()
    assert log["height"] >= share * size[1]
    assert log["width"] <= 900
    assert visitor.conversation.locator(".answer p").first.evaluate(LETTERS_IN_A_LINE) < 90
    assert visitor.tab.evaluate(TARGETS, 40 if size == PHONE else 24) == []
    bottom = visitor.tab.get_by_text("Open conversation…").bounding_box()
    assert bottom["y"] + bottom["height"] <= size[1]


@pytest.mark.parametrize("size", [LYING, ZOOMED], ids=["phone on its side", "200 %"])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_low_window_has_room_for_settings_files_and_the_input_box(visit, page, session, tmp_path, size, colours):
    visitor = in_window(visit, page, size, color_scheme=colours)
    Image.new("RGB", (248, 350)).save(tmp_path / "letter.pdf")
    visitor.upload(*[picture(tmp_path / f"{number}.png") for number in range(7)], tmp_path / "letter.pdf")
    visitor.tab.get_by_placeholder("Pages, such as").wait_for()
    assert visitor.tab.evaluate(TARGETS, 24) == []
    assert visitor.conversation.bounding_box()["height"] >= 0.5 * size[1]  # while all of this stands below it
    last = visitor.tab.locator("#question").get_by_role("button", name="Remove").last
    last.scroll_into_view_if_needed()  # files are one line, which scrolls
    last.click(trial=True)
    assert visitor.input.bounding_box()["width"] >= 150
    visitor.tab.get_by_role("button", name="Settings").click()
    panel = visitor.tab.locator("#settings")
    box, field = panel.bounding_box(), visitor.input.bounding_box()
    assert box["x"] >= 0 and box["y"] >= 0 and box["x"] + box["width"] <= size[0]
    assert box["height"] > 150 and box["y"] + box["height"] <= field["y"]
    for control in ("System prompt", "Seed", "Up to 256"):
        control = visitor.tab.get_by_label(control)
        control.scroll_into_view_if_needed()
        control.click(trial=True)
    visitor.tab.get_by_role("button", name="Submit", exact=True).click(trial=True)
    ask(visitor, "table")
    assert not panel.is_visible()
    visitor.tab.evaluate("document.querySelector('[role=log]').scrollTop = 0")
    assert visitor.tab.evaluate("[...document.querySelectorAll('*')].filter((e) => e.scrollHeight > e.clientHeight + 1 "
                                "&& /auto|scroll/.test(getComputedStyle(e).overflowY)).map((e) => e.role)") == ["log"]


@pytest.mark.parametrize("size", [LAPTOP, PHONE, LYING, ZOOMED], ids=["laptop", "phone", "phone on its side", "200 %"])
def test_a_long_question_leaves_room_for_the_conversation_and_the_buttons(visit, page, session, size):
    visitor = in_window(visit, page, size)
    visitor.input.fill("\n".join(map(str, range(40))))
    assert visitor.conversation.bounding_box()["height"] >= 0.35 * size[1]
    assert visitor.tab.evaluate(TARGETS, 24) == []
    bottom = visitor.tab.get_by_text("Open conversation…").bounding_box()
    assert bottom["y"] + bottom["height"] <= size[1]


# WCAG's ratio of an element's colour, or that of its border or placeholder, to what is behind it.
CONTRAST = """(element, of) => {
  const parse = (colour) => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const style = getComputedStyle(element, of === "placeholder" ? "::placeholder" : null);
  let behind = of === "border" ? element.parentElement : element;
  while (behind && parse(getComputedStyle(behind).backgroundColor)[3] < 255) behind = behind.parentElement;
  const ground = behind ? parse(getComputedStyle(behind).backgroundColor) : [255, 255, 255, 255];
  const [light, dark] = [luminance(parse(of === "border" ? style.borderTopColor : style.color)), luminance(ground)]
    .sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}"""


FRAME = """field => {
  while (getComputedStyle(field).borderTopWidth === "0px") field = field.parentElement;
  return field;
}"""


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_what_is_to_be_read_and_pressed_stands_out(visit, page, session, colours):
    visitor = in_window(visit, page, LAPTOP, color_scheme=colours)
    box = visitor.tab.get_by_placeholder("Ask about a picture…")
    assert box.evaluate(CONTRAST, "placeholder") >= 4.5
    for name in ("Clear", "Save conversation", "Open conversation…", "About", "Settings"):
        button = visitor.tab.get_by_role("button", name=name, exact=False).first
        assert button.evaluate(CONTRAST, "text") >= 4.5, name
        assert button.evaluate(CONTRAST, "border") >= 3, name
    visitor.tab.get_by_role("button", name="Settings").click()
    fields = visitor.tab.locator("#settings :is(textarea, [type=number], [type=radio]:not(:checked))")
    assert fields.count() > 8
    for field in fields.all():
        frame = field.evaluate_handle(FRAME)  # that of a slider's number is around its button, too
        assert frame.evaluate(CONTRAST, "border") >= 3, field.evaluate("field => field.outerHTML")


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_settings_and_about_open_over_the_conversation_and_do_not_move_it(visit, page, session, size):
    visitor = in_window(visit, page, size)
    place = visitor.conversation.bounding_box()
    for name, inside in (("About", "They are deleted there after a day."), ("Settings", "Temperature")):
        visitor.tab.get_by_role("button", name=name, exact=False).first.click()
        visitor.tab.get_by_text(inside).first.wait_for()
        assert visitor.conversation.bounding_box() == place
        panel = visitor.tab.locator(":popover-open").bounding_box()
        assert panel["y"] >= place["y"] and panel["y"] + panel["height"] <= place["y"] + place["height"] + 1
        visitor.tab.keyboard.press("Escape")
        visitor.tab.get_by_text(inside).first.wait_for(state="hidden")


def test_whoever_opens_the_page_can_type_at_once_and_waits_for_nobody(visit, page, session, monkeypatch):
    monkeypatch.setattr(session, "memory", threading.Event().wait)
    visitor = visit(page.local_url)
    visitor.tab.wait_for_function("document.activeElement.placeholder == 'Ask about a picture…'")
    assert visitor.tab.get_by_role("button", name="Select example").count() == 3
    assert visitor.tab.request.get(f"{page.local_url}favicon.ico").body() == LAUNCH["favicon_path"].read_bytes()


# ---- pictures -------------------------------------------------------------------------------------------------------

BADGE_IN_VIDEO = """() => {
  const find = (part) => document.querySelector(part);
  const [badge, shown] = [".picture i", ".picture video"].map((part) => find(part).getBoundingClientRect());
  return badge.height < 30 && badge.top > shown.top && badge.bottom < shown.bottom;
}"""
LARGEST = "picture => picture.decode().then(() => picture.getBoundingClientRect().toJSON())"


@pytest.mark.parametrize("size", [LAPTOP, PHONE, LYING], ids=["laptop", "phone", "phone on its side"])
def test_a_picture_opens_as_large_as_the_window_and_arrows_go_on(visit, page, session, tmp_path, size):
    visitor = in_window(visit, page, size)
    visitor.upload(picture(tmp_path / "1.png"), picture(tmp_path / "2.png", (200, 300), "navy"))
    ask(visitor, "table")
    assert visitor.conversation.locator(".picture span").all_inner_texts() == ["1", "2"]
    visitor.conversation.get_by_role("button", name="Picture 1 of 2").focus()
    visitor.tab.keyboard.press("Enter")
    opened = visitor.tab.get_by_role("dialog")
    opened.get_by_text("1 of 2").wait_for()
    shown = opened.locator(".stage > img").evaluate(LARGEST)
    assert (shown["width"], shown["height"]) == size  # the picture is as large in it as its shape allows
    visitor.tab.keyboard.press("ArrowRight")
    opened.get_by_text("2 of 2").wait_for()
    visitor.tab.keyboard.press("ArrowLeft")
    opened.get_by_text("1 of 2").wait_for()
    visitor.tab.keyboard.press("Escape")
    opened.wait_for(state="hidden")


def test_a_video_shows_its_length_and_the_frames_that_were_seen(visitor, session, tmp_path):
    session.begin(gated=True)  # they are found while the visitor types, or else while the answer is awaited
    visitor.upload(write_video(tmp_path / "clip.webm", brightening(24), codec="libvpx-vp9"))
    visitor.ask("table")
    visitor.conversation.locator(".picture img").first.wait_for(state="attached")
    session.allow()
    visitor.answers.get_by_text(END).wait_for()
    video = visitor.conversation.get_by_role("button", name="Video, 0:0")
    visitor.conversation.get_by_text(re.compile(r"▶ 0:0\d")).wait_for()
    visitor.tab.wait_for_function(BADGE_IN_VIDEO)
    video.click()
    opened = visitor.tab.get_by_role("dialog")
    opened.locator("video[controls]").wait_for()
    times = opened.locator("figcaption").all_inner_texts()
    assert len(times) == 8 and times[0] == "0.0 s"
    strip = opened.locator(".seen").evaluate("e => [e.getBoundingClientRect().left, e.scrollWidth - e.clientWidth]")
    assert strip[0] >= 0 and strip[1] == 0  # all of them side by side
    assert opened.locator("figure img").first.evaluate(LARGEST)["height"] > 0
    opened.get_by_role("button", name="Close").click()
    opened.wait_for(state="hidden")


def test_a_document_opens_page_by_page_and_says_which_were_read(visitor, session, tmp_path):
    session.begin(gated=True)
    pages = [Image.new("RGB", (248, 350), colour) for colour in ("maroon", "teal", *["navy"] * 8)]
    pages[0].save(tmp_path / "letter.pdf", save_all=True, append_images=pages[1:])
    visitor.upload(tmp_path / "letter.pdf")
    visitor.ask("table")
    visitor.conversation.get_by_text("letter.pdf, pages read: 8 of 10").click()
    opened = visitor.tab.get_by_role("dialog")
    opened.get_by_text("Page 1 of 10 · 1 of 8").wait_for()
    visitor.tab.keyboard.press("ArrowRight")
    opened.get_by_text("Page 2 of 10 · 2 of 8").wait_for()
    shown = opened.locator(".stage > img").evaluate(LARGEST)
    assert (shown["width"], shown["height"]) == (1000, 900)  # of the window


def test_pages_of_a_document_and_frames_of_a_video_are_chosen(visitor, session, tmp_path):
    pages = [Image.new("RGB", (248, 350), colour) for colour in ("maroon", "teal", *["navy"] * 8)]
    pages[0].save(tmp_path / "letter.pdf", save_all=True, append_images=pages[1:])
    visitor.upload(tmp_path / "letter.pdf", write_video(tmp_path / "clip.webm", brightening(24), codec="libvpx-vp9"))
    choice = visitor.tab.get_by_placeholder("Pages, such as 3, 5-7; else the first 8")
    choice.fill("all")
    visitor.input.fill("table")
    visitor.submit(visitor.tab.get_by_text("'all' are no pages that can be read").last)  # the first is in Settings
    choice.fill("2, 9-10")
    visitor.tab.get_by_role("button", name="Settings").click()
    visitor.tab.get_by_label("Up to 8").click()

    def seen(messages: list[dict]) -> list:
        document, video, *_ = messages[-1]["content"]
        return [document.get("pages"), video.get("max_frames")]

    visitor.wait_until(lambda: session.prepared and seen(session.prepared[-1]) == [[2, 9, 10], 8])
    ask(visitor, "table")
    assert seen(session.calls[-1][0]) == [[2, 9, 10], 8]
    choice.wait_for(state="hidden")
    visitor.conversation.get_by_text("letter.pdf, pages read: 10 of 10").click()
    visitor.tab.get_by_role("dialog").get_by_text("Page 2 of 10 · 1 of 4").wait_for()  # the fourth is the video
    visitor.tab.keyboard.press("Escape")

    visitor.tab.reload()
    visitor.answers.get_by_text(END).wait_for()
    visitor.press("Retry")
    visitor.wait_until(lambda: len(session.calls) == 2)
    assert seen(session.calls[-1][0]) == [[2, 9, 10], 8]  # the setting was kept, and the question has its pages
    visitor.answers.get_by_text(END).wait_for()
    visitor.press("Undo")
    visitor.in_box(2)
    assert choice.input_value() == "2, 9, 10"


def test_no_pages_are_asked_for_where_no_document_is_left(visitor, session, tmp_path):
    Image.new("RGB", (248, 350)).save(tmp_path / "letter.pdf")
    choice = visitor.tab.get_by_placeholder("Pages, such as")
    for leave in (lambda: visitor.click("Clear"), lambda: visitor.submit(visitor.conversation.locator(".document"))):
        visitor.upload(tmp_path / "letter.pdf")
        choice.wait_for()
        leave()
        choice.wait_for(state="hidden")
        visitor.tab.locator("#question input[type=file]").evaluate("picker => { picker.value = ''; }")


EDGES = "of => { const { left, right } = of.getBoundingClientRect(); return [Math.round(left), Math.round(right)]; }"


def test_a_picture_stands_above_its_question(visitor, session, tmp_path):
    visitor.upload(picture(tmp_path / "panorama.png", (1200, 300)))
    ask(visitor, "table")
    (_, edge), (_, below) = visitor.pictures.evaluate(EDGES), visitor.conversation.get_by_text("table").evaluate(EDGES)
    assert 0 <= edge - below < 20


ANYWHERE = GIVE.replace("textarea[placeholder^='Ask about']", "h1")


def test_files_are_dropped_and_pasted_anywhere(visitor, square):
    data = base64.b64encode(square.read_bytes()).decode()
    for files, way in ((1, "drop"), (2, "paste")):
        visitor.tab.evaluate(ANYWHERE, [way, data])
        visitor.in_box(files)
    veil = visitor.tab.get_by_text("Drop pictures, videos and documents anywhere")
    visitor.tab.evaluate(ANYWHERE.replace('kind == "drop"', 'kind == "dragover"'), ["dragover", data])
    veil.wait_for()
    visitor.tab.evaluate(ANYWHERE, ["drop", data])
    veil.wait_for(state="hidden")
    visitor.in_box(3)


# ---- sending and stopping -------------------------------------------------------------------------------------------


def test_one_button_sends_or_stops_and_esc_stops_too(visitor, session):
    session.begin(gated=True)
    submit, stop = (visitor.tab.get_by_role("button", name=name, exact=True) for name in ("Submit", "Stop"))
    assert submit.is_visible() and not stop.is_visible()
    for press in (stop.click, lambda: visitor.tab.keyboard.press("Escape")):
        visitor.ask("table")
        session.allow(4)
        visitor.answers.get_by_text("Here is").last.wait_for()
        assert stop.is_visible() and not submit.is_visible()
        press()
        stopped(visitor)
        submit.wait_for()
        visitor.click("Clear")
        visitor.questions.wait_for(state="detached")


def test_enter_while_an_answer_is_written_sends_the_question_afterwards(visitor, session):
    session.begin(gated=True)
    visitor.ask("lists")
    waits = visitor.tab.get_by_text("Your question is sent when this answer has ended.")
    visitor.input.press("Enter")  # twice, in a hurry: there is no second question
    assert not waits.is_visible()
    visitor.input.fill("table")
    visitor.input.press("Enter")
    waits.wait_for()
    visitor.tab.keyboard.press("Escape")  # takes it back
    waits.wait_for(state="hidden")
    visitor.input.press("Enter")
    waits.wait_for()
    session.allow()
    visitor.answers.get_by_text(END).nth(1).wait_for()
    assert visitor.asked() == ["lists", "table"]


def test_what_is_typed_while_a_question_is_on_its_way_stays(visitor, session):
    held = []
    visitor.input.fill("table")
    visitor.tab.route("**/queue/join*", lambda route: held.append(route))
    visitor.input.press("Enter")
    visitor.tab.wait_for_function("document.querySelector('#question textarea').value == ''")
    visitor.input.press_sequentially("And")
    visitor.wait_until(lambda: held)
    visitor.tab.unroute("**/queue/join*")  # and go on
    visitor.answers.get_by_text(END).wait_for()
    assert visitor.asked() == ["table"] and visitor.input.input_value() == "And"


def test_a_question_that_does_not_arrive_is_back_in_the_input_box(visitor, session):
    visitor.input.fill("table")
    visitor.tab.route("**/queue/join*", lambda route: route.fulfill(status=500, body="{}"))
    visitor.input.press("Enter")
    visitor.tab.get_by_text("Error").first.wait_for()
    visitor.tab.wait_for_function("document.querySelector('#question textarea')?.value == 'table'")
    visitor.tab.unroute("**/queue/join*")
    visitor.tab.route("**/queue/join*", lambda route: None)
    visitor.input.press("Enter")
    visitor.tab.wait_for_function("document.querySelector('#question textarea')?.value == ''")
    visitor.tab.reload()
    visitor.tab.unroute("**/queue/join*")
    visitor.tab.wait_for_function("document.querySelector('#question textarea')?.value == 'table'")


def test_what_is_typed_survives_a_reload_and_what_was_asked_is_not_typed_again(visitor, session):
    ask(visitor, "table")
    visitor.input.fill("And the second")
    for typed in ("And the second", ""):
        visitor.tab.reload()
        visitor.answers.get_by_text(END).wait_for()
        assert visitor.input.input_value() == typed
        visitor.input.fill("")
    ask(visitor, "lists")
    visitor.answers.get_by_text(END).nth(1).wait_for()
    visitor.tab.reload()
    visitor.answers.get_by_text(END).nth(1).wait_for()
    assert visitor.input.input_value() == ""


def test_a_question_that_is_refused_is_back_in_the_input_box(visitor, session, tmp_path):
    Image.new("RGB", (248, 350)).save(tmp_path / "letter.pdf")
    visitor.upload(tmp_path / "letter.pdf")
    pages = visitor.tab.get_by_placeholder("Pages, such as")
    pages.fill("all")
    visitor.input.fill("table")
    visitor.input.press("Enter")
    visitor.tab.get_by_text("'all' are no pages that can be read").last.wait_for()
    visitor.in_box(1)
    pages.wait_for()
    assert (visitor.input.input_value(), pages.input_value()) == ("table", "all")
    assert visitor.asked() == []


def test_stop_while_a_question_waits_gives_it_back(visit, page, session):
    session.begin(gated=True)
    first, second = visit(page.local_url), visit(page.local_url)
    first.ask("lists")
    second.ask("table")
    second.tab.get_by_text(re.compile(r"Waiting for others, place 1: \d+ s")).wait_for()
    with second.tab.expect_response(lambda answer: "/predict" in answer.url):  # the server knows what is typed
        second.input.fill("and a chair")
    second.click("Stop")
    second.questions.wait_for(state="detached")
    assert second.input.input_value() == "table\nand a chair"
    session.allow()
    first.answers.get_by_text(END).wait_for()
    ask(second, "code")
    assert [messages[-1]["content"][-1]["text"] for messages, _ in session.calls] == ["lists", "code"]
    assert len(session.calls[-1][0]) == 1


def test_a_question_is_edited_in_a_field_as_wide_as_the_conversation(visitor, session):
    ask(visitor, "table", "lists")
    visitor.press("Edit", 0)
    field = visitor.conversation.get_by_role("textbox")
    assert field.bounding_box()["width"] > 0.85 * visitor.conversation.bounding_box()["width"]
    field.fill("\n".join(map(str, range(10))))
    assert field.evaluate("field => field.scrollHeight - field.clientHeight") <= 0  # all of it is seen
    field.press("Escape")
    field.wait_for(state="detached")
    visitor.press("Edit", 0)
    field.fill("code")
    field.press("Enter")
    visitor.answers.get_by_text("This draws a box").wait_for()
    visitor.answers.get_by_text(END).wait_for()
    assert visitor.asked() == ["code"]


def test_an_edited_question_that_is_stopped_before_its_first_word_is_in_the_input_box(visitor, session):
    ask(visitor, "table")
    session.begin(gated=True)
    visitor.press("Edit")
    visitor.conversation.get_by_role("textbox").fill("a long question")
    visitor.tab.keyboard.press("Enter")
    visitor.answers.get_by_text("Reading").wait_for()
    visitor.click("Stop")
    visitor.answers.get_by_text(END).wait_for()
    assert visitor.asked() == ["table"]
    assert visitor.input.input_value() == "a long question"


# ---- nothing is lost ------------------------------------------------------------------------------------------------


def test_a_reload_brings_back_text_and_pictures(visitor, session, square):
    visitor.upload(square)
    ask(visitor, "table")
    visitor.tab.reload()
    visitor.answers.get_by_text("in all").wait_for()
    assert visitor.pictures.evaluate(LARGEST)["width"] > 0
    ask(visitor, "lists")
    visitor.answers.get_by_text(END).nth(1).wait_for()
    (_, before), (messages, after) = session.calls
    assert [part["type"] for part in messages[0]["content"]] == ["image", "text"]
    assert before["visitor"] == after["visitor"]  # so what is cached serves it again


def test_a_reload_during_an_answer_keeps_its_words(visitor, session):
    session.begin(gated=True)
    visitor.ask("table")
    session.allow(6)
    visitor.answers.get_by_text("Here is what").wait_for()
    before = visitor.stored()
    session.allow(2)
    visitor.tab.wait_for_function("before => sessionStorage['qwen2-vl-chat'] != before", arg=before)
    visitor.tab.reload()
    visitor.answers.get_by_text("Here is what").wait_for()
    stopped(visitor)
    session.allow()
    visitor.press("Retry")
    visitor.answers.get_by_text("in all").wait_for()


def test_a_file_that_cannot_be_opened_does_not_disturb_an_answer(visitor, session, tmp_path):
    session.begin(gated=True)
    visitor.ask("table")
    session.allow(6)
    visitor.answers.get_by_text("Here is what").wait_for()
    (tmp_path / "forged.zip").write_bytes(b"PK")
    visitor.tab.locator("input[type=file][accept*=zip]").set_input_files(str(tmp_path / "forged.zip"))
    visitor.tab.get_by_text("not a conversation that was saved").wait_for()
    session.allow()
    visitor.answers.get_by_text("in all").wait_for()
    visitor.answers.get_by_text(END).wait_for()


def test_each_tab_has_its_own_conversation(browser, page, session):
    context = browser.new_context()
    try:
        tabs = [context.new_page(), context.new_page()]
        for tab, question in zip(tabs, ("table", "lists"), strict=True):
            tab.goto(page.local_url)
            tab.get_by_placeholder("Ask about a picture").fill(question)
            tab.get_by_placeholder("Ask about a picture").press("Enter")
            tab.get_by_text(END).wait_for()
        for tab, question in zip(tabs, ("table", "lists"), strict=True):
            tab.reload()
            tab.get_by_text(END).wait_for()
            assert tab.locator(".user-row .message-content").all_inner_texts() == [question]
        new = context.new_page()
        new.goto(page.local_url)
        new.get_by_placeholder("Ask about a picture").wait_for()
        assert new.locator(".user-row").count() == 0
    finally:
        context.close()


KEPT = "qwen2-vl-chat-settings"
IS_KEPT = """([name, prompt, length]) => {
  const kept = JSON.parse(localStorage[name] ?? "[]");
  return kept[0] === prompt && kept[2] === length;
}"""


def set_controls(tab) -> tuple:
    tab.get_by_role("button", name="Settings").first.click()
    return tab.get_by_label("System prompt"), tab.get_by_role("spinbutton", name="Length")


def test_settings_survive_reloads_and_are_those_of_a_new_tab(browser, page, session):
    context = browser.new_context()
    try:
        (tab := context.new_page()).goto(page.local_url)
        for number in range(2):  # each time at once, before the page has heard anything from the server
            wanted = f"Be brief, {number}.", str(16 * (number + 1))
            for control, value in zip(set_controls(tab), wanted, strict=True):
                control.fill(value)
                control.press("Tab")
            tab.wait_for_function(IS_KEPT, arg=[KEPT, wanted[0], int(wanted[1])])
            (new := context.new_page()).goto(page.local_url)
            tab.reload()
            for opened in (new, tab):
                assert tuple(control.input_value() for control in set_controls(opened)) == wanted
                opened.keyboard.press("Escape")
            new.close()
    finally:
        context.close()


def test_settings_that_this_model_does_not_have_come_back_as_far_as_they_are_possible(visitor):
    for kept, shown in (
        (["Be brief.", 9, 1, 1.2, 5, 10**6], ("Be brief.", "16")),
        ([None, "x", True, [], {}, None], ("", "1024")),
        ("nothing of ours", ("", "1024")),
    ):
        visitor.tab.evaluate("([name, kept]) => { localStorage[name] = JSON.stringify(kept); }", [KEPT, kept])
        visitor.tab.reload()
        assert tuple(control.input_value() for control in set_controls(visitor.tab)) == shown


def test_clear_can_be_undone(visitor, square):
    visitor.upload(square)
    ask(visitor, "table")
    visitor.input.fill("And")
    visitor.click("Clear")
    visitor.questions.first.wait_for(state="detached")
    visitor.click("Undo")
    visitor.answers.get_by_text("in all").wait_for()
    visitor.pictures.wait_for()
    assert visitor.input.input_value() == "And"


def test_a_conversation_is_saved_under_its_date_and_an_empty_one_says_so(visitor):
    visitor.click("Save conversation")
    visitor.tab.get_by_text("There is nothing to save yet").wait_for()
    ask(visitor, "table")
    for button, name in (("Save conversation", "zip"), ("Save as Markdown", "md")):
        with visitor.tab.expect_download() as download:
            visitor.click(button)
        assert re.fullmatch(rf"conversation-\d{{4}}-\d\d-\d\d-\d{{4}}\.{name}", download.value.suggested_filename)
