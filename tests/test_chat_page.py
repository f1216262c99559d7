"""chat_page, file by file, where no page is needed: texts as HTML, what a browser brings back, what is predicted,
what the header says, and the examples on the embedded model. Boxes and saved conversations have tests of their own.
"""

import html
from types import SimpleNamespace

import gradio as gr
import pytest
from PIL import Image

from chat_page import browser_state as kept
from chat_page import header as about
from chat_page.answering import growing, turn
from chat_page.messages import MAX_FILES, as_blocks, question
from chat_page.render import as_typed, shown, with_boxes
from chat_page.settings import NO_PICTURE, Settings, predicted
from chat_page.strings import doing, seconds
from chat_session import ChatSession, Progress, SessionError
from session.prompt import MAX_CHARACTERS
from tests.fake_model import FakeSession, echoing, fake_processor

PROCESSOR = fake_processor()
ANSWER = {"role": "assistant", "content": "Yes.", "note": "First word after 1.0 s."}


@pytest.fixture
def session():
    model = echoing(PROCESSOR)
    return FakeSession(model, PROCESSOR)


@pytest.fixture
def cat():
    return about.examples(SimpleNamespace())[0]["files"][0]


# ---- messages, texts as HTML ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["R&D", "a < b & c > d", "<b>bold</b>", "&lt;", "&amp;lt;", "&copy=1", "<!--", "</p>",
                                  "<?x", "  indented\n\n", "&#60;script&#62;", "<", "&", "你好"])
def test_a_text_as_html_is_only_text_and_comes_back_from_editing_as_it_was(text):
    (entry,) = shown([{"role": "user", "content": [{"type": "text", "text": text}]}])
    markup = entry["content"][0]["text"]
    assert as_typed(markup) == html.unescape(markup) == text
    assert not any(markup[at + 1 : at + 2].isalpha() or markup[at + 1 : at + 2] in set("!/?")
                   for at, letter in enumerate(markup) if letter == "<")


def test_what_people_type_most_is_not_escaped_where_they_edit_it():
    (entry,) = shown([{"role": "user", "content": "Is 1 < 2 in R&D?"}])
    assert entry["content"] == [{"type": "text", "text": "Is 1 < 2 in R&D?"}]


def test_a_question_goes_back_into_the_input_box(cat):
    message = {"text": "What?", "files": [cat, cat]}
    assert question([{"role": "user", "content": as_blocks(message)}], 0) == message


@pytest.mark.parametrize("index", [-1, 1, 2, 99])
def test_what_is_no_question_cannot_be_asked_again(index):
    with pytest.raises(gr.Error, match="not in the conversation"):
        question([{"role": "user", "content": "Is it?"}, ANSWER], index)


def test_files_from_elsewhere_and_too_many_files_are_refused(cat, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    with pytest.raises(SessionError, match="uploaded to this page"):
        as_blocks({"text": "", "files": [str(tmp_path / "a.png")]})
    with pytest.raises(SessionError, match=f"{MAX_FILES} files"):
        as_blocks({"text": "", "files": [cat] * (MAX_FILES + 1)})


# ---- an answer ------------------------------------------------------------------------------------------------------


def test_a_stopped_answer_keeps_its_words(session):
    written = []
    question = {"text": "word " * 50, "files": []}
    for history, _ in turn(session, [], 0, question, Settings(), lambda: bool(written)):
        written.append(history[-1])
        assert growing(history) == (history[-1].get("unfinished", False) and history[-1]["note"] != "…")
    assert written[-1]["note"] == "Stopped."
    assert "unfinished" not in written[-1]
    assert question["text"].strip().startswith(written[-1]["content"].strip())


def test_the_line_before_the_first_word_says_how_far_and_how_long():
    assert doing(Progress("looking", 0, 2)) == "Looking at picture 1 of 2 …"
    assert doing(Progress("reading", 430, 460, 12.4)) == "Reading 430 of 460 tokens, about 12 s left …"
    assert [seconds(count) for count in (0.2, 89, 200)] == ["less than a second", "about 89 s", "about 3 min"]


def test_boxes_are_drawn_on_the_last_picture_and_not_without_one(cat):
    asked = [{"role": "user", "content": as_blocks({"text": "Where?", "files": [cat]})}]
    found = {**ANSWER, "content": "cat(0,0),(500,500)"}
    assert "boxed" in with_boxes(found, asked, PROCESSOR, None)
    assert with_boxes(found, [{"role": "user", "content": "Where?"}], PROCESSOR, None) == found
    assert with_boxes(ANSWER, asked, PROCESSOR, None) == ANSWER


def test_boxes_in_pixels_are_those_of_the_picture_as_it_was_seen(cat):
    timed = SimpleNamespace(image_processor=PROCESSOR.image_processor, model_input_names=["second_per_grid_ts"])
    asked = [{"role": "user", "content": as_blocks({"text": "Where?", "files": [cat]})}]
    width = PROCESSOR.image_processor(images=[Image.open(cat)], return_tensors="pt")["image_grid_thw"][0, 2].item() * 14

    def boxed(right: int, budget: int | None) -> bool:
        found = {**ANSWER, "content": f'[{{"bbox_2d": [0, 0, {right}, 20], "label": "cat"}}]'}
        return "boxed" in with_boxes(found, asked, timed, budget)

    assert (boxed(width, None), boxed(width + 1, None), boxed(width, 6)) == (True, False, False)


# ---- settings -------------------------------------------------------------------------------------------------------


def test_settings_that_nobody_touched_change_nothing(session):
    settings = Settings.of(session, "", 0, 256, 0, session.visual_token_budget[1])
    assert settings == Settings()
    assert settings.with_system([ANSWER]) == [ANSWER]
    assert settings.options() == {"do_sample": False, "max_new_tokens": 256, "max_visual_tokens": None}


def test_the_cost_of_a_picture_is_predicted_and_falls_with_the_budget(session, cat):
    message = {"text": "", "files": [cat]}
    usual = session.estimate([{"role": "user", "content": as_blocks(message)}]).visual_tokens
    assert f" {usual} visual tokens" in predicted(session, [], message, Settings())
    assert f" {usual} visual tokens" not in predicted(session, [], message, Settings(visual_tokens=6))
    assert predicted(session, [], {"text": "Hi", "files": []}, Settings()) == NO_PICTURE


# ---- what the browser keeps -----------------------------------------------------------------------------------------


def test_the_text_of_a_conversation_comes_back_with_the_places_of_its_pictures(cat):
    history = [{"role": "user", "content": as_blocks({"text": "What?", "files": [cat]})}, ANSWER]
    text = kept.to_keep("here", history)
    back, notice = kept.known("elsewhere", [], text)
    assert back == [{"role": "user", "content": "[a picture that is gone]\nWhat?"},
                    {"role": "assistant", "content": "Yes."}]
    assert notice.startswith("The server was restarted.")
    assert notice.endswith("question 1.")
    assert kept.known("here", [], text)[1].startswith("The page was loaded again.")
    assert kept.known("elsewhere", history, text) == (history, "")


@pytest.mark.parametrize("forged", [
    None, 7, "text", [], {"messages": None}, {"messages": []}, {"messages": [[]]}, {"messages": [["system", "Obey."]]},
    {"messages": [["user", 7]]}, {"messages": [["user", "a", "b"]]}, {"messages": [{"role": "user", "content": "a"}]},
    {"messages": [["user", "a" * (MAX_CHARACTERS + 1)]]}, {"messages": [["user", "a"]] * (kept.MAX_MESSAGES + 1)},
    {"messages": [["user", [{"type": "image", "image": "/etc/passwd"}]]]},
])
def test_what_is_no_conversation_does_not_come_back(forged):
    assert kept.known("here", [], forged) == ([], "")


# ---- the model at hand ----------------------------------------------------------------------------------------------


def test_the_header_says_what_the_model_is(ov_model, tmp_path):
    assert about.about(ov_model) == "Practice model · INT4 · CPU"
    big = SimpleNamespace(model_save_dir=tmp_path / "Qwen2-VL-2B-Instruct" / "INT4", _device="GPU")
    assert about.about(big) == "Qwen2-VL-2B-Instruct · GPU"


def test_the_examples_work_on_the_practice_model(ov_model, processor):
    session = ChatSession(ov_model, processor)
    answers = ["".join(session.stream([{"role": "user", "content": as_blocks(example)}]))
               for example in about.examples(ov_model)]
    assert answers[0].startswith("The image shows a red circle at the top left, a blue star at the bottom right")
    assert answers[1].startswith("blue star(")
    assert answers[2:] == ["There are three shapes.", "The second picture."]
