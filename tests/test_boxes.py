"""session.boxes: what models write, and what is not a box."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_session import ChatSession
from session.boxes import (
    JSON_PIXELS,
    JSON_THOUSANDTHS,
    MAX_BOXES,
    MAX_LABEL,
    TEXT_THOUSANDTHS,
    Box,
    parse_boxes,
)
from tiny_model import scenes

SIZE = (500, 250)
GRID = (18, 36)  # 252 x 504 pixels
RESIZED = (504, 252)


def tokens(label: str, corners: str) -> str:
    return f"<|object_ref_start|>{label}<|object_ref_end|><|box_start|>{corners}<|box_end|>"


# ---- Qwen2-VL -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "red circle(100,200),(300,400)", tokens("red circle", "(100,200),(300,400)"),
    "red circle: (100,200), (300,400).", "Here it is:\nred circle (100,200),(300,400)",
    "There are two things: red circle(100,200),(300,400)", "I see a red circle at (100,200),(300,400).",
    "I looked, and the **red circle** is at (100,200),(300,400)", "1. red circle: (100,200),(300,400)",
    "red circle<|box_start|>(100,200),(300,400)<|box_end|>",
    f"Here is the {tokens('red circle', '(100,200),(300,400)')} that you meant.",
])  # fmt: skip
def test_thousandths_become_pixels_of_the_picture(text):
    assert parse_boxes(text, TEXT_THOUSANDTHS, SIZE) == [Box("red circle", (50, 50, 150, 100))]


def test_every_box_has_the_label_before_it_and_one_without_has_the_last():
    text = "red circle(0,0),(10,20)blue square(20,20),(30,40), (40,40),(50,60)"
    found = [(box.label, box.corners) for box in parse_boxes(text, TEXT_THOUSANDTHS, (1000, 1000))]
    assert found == [
        ("red circle", (0, 0, 10, 20)), ("blue square", (20, 20, 30, 40)), ("blue square", (40, 40, 50, 60)),
    ]  # fmt: skip


def test_a_box_without_words_has_no_label():
    assert parse_boxes("(0,0),(1000,1000)", TEXT_THOUSANDTHS, SIZE) == [Box("", (0, 0, *SIZE))]


def test_a_box_that_is_said_again_is_one_box():
    assert len(parse_boxes("red circle(100,200),(300,400)" * 500, TEXT_THOUSANDTHS, SIZE)) == 1


def test_a_long_label_is_cut_and_keeps_what_stands_before_the_box():
    (found,) = parse_boxes("a" * 5000 + " red circle(100,200),(300,400)", TEXT_THOUSANDTHS, SIZE)
    assert found.label.endswith(" red circle") and len(found.label) == MAX_LABEL + 1


# ---- Qwen2.5-VL -----------------------------------------------------------------------------------------------------


ONE = '{"bbox_2d": [126, 63, 252, 126], "label": "red circle"}'


@pytest.mark.parametrize("text", [
    ONE, f"[{ONE}]", f"```json\n[\n\t{ONE}\n]\n```", f"Here: {ONE} and more.", f'[{ONE}, {{"bbox_2d": [1, 2',
    ONE.replace("126,", "126.0,"), f"[{ONE}, {ONE}]",
])  # fmt: skip
def test_pixels_of_the_resized_picture_become_pixels_of_the_picture(text):
    assert parse_boxes(text, JSON_PIXELS, RESIZED, GRID) == [Box("red circle", (126, 63, 252, 126))]
    assert parse_boxes(text, JSON_PIXELS, (1008, 252), GRID) == [Box("red circle", (252, 63, 504, 126))]


def test_qwen3_vl_writes_thousandths():
    (found,) = parse_boxes('{"bbox_2d": [100, 200, 300, 400], "label": "red circle"}', JSON_THOUSANDTHS, SIZE)
    assert found == Box("red circle", (50, 50, 150, 100))


@pytest.mark.parametrize(("box_format", "written"), [(JSON_PIXELS, (252, 126)), (JSON_THOUSANDTHS, (500, 500))])
def test_a_point_is_the_pixel_that_is_meant(box_format, written):
    text = f'```json\n[{{"point_2d": {list(written)}, "label": "nose"}}]\n```'
    assert parse_boxes(text, box_format, SIZE, GRID) == [Box("nose", (250, 125, 251, 126), is_point=True)]
    assert parse_boxes(text.replace(str(list(written)), "[1001, 0]"), box_format, SIZE, GRID) == []
    last = text.replace(str(list(written)), "[504, 252]" if box_format == JSON_PIXELS else "[1000, 1000]")
    assert parse_boxes(last, box_format, SIZE, GRID)[0].corners == (499, 249, 500, 250)


def test_words_that_were_read_are_a_label():
    (found,) = parse_boxes(ONE.replace('"label"', '"text_content"'), JSON_PIXELS, RESIZED, GRID)
    assert found.label == "red circle"


def test_json_without_a_label():
    assert parse_boxes('[{"bbox_2d": [0, 0, 504, 252]}]', JSON_PIXELS, SIZE, GRID) == [Box("", (0, 0, *SIZE))]


# ---- what is no box -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "", "It is red.", "(1,2)", "(1,2),(3", "(300,400),(100,200)", "(100,400),(300,200)", "(5,5),(5,9)",
    "(0,0),(1001,9)", "(-1,0),(9,9)", "(1.5,2),(3,4)", "(٣,٤),(٥,٦)", "(1,2),(3,4444444444)", "((((1,2),(",
    "f(1,2), g(3,4)", "red circle: (100, 200), (300, 400)", "The segment from (0, 0), (10, 10) is a diagonal.",
    "The segment from (0,0),(10,10) is a diagonal.", "A triangle with the vertices (0,0),(100,200),(300,50).",
    "Its corners are at (0,0),(10,10).", "".join(f"dot({n},0),({n + 1},9)" for n in range(MAX_BOXES + 1)), ONE,
])  # fmt: skip
def test_what_is_no_box_of_qwen2_vl_stays_text(text):
    assert parse_boxes(text, TEXT_THOUSANDTHS, SIZE, GRID) == []


@pytest.mark.parametrize("numbers", [
    "[1, 2, 3]", "[1, 2, 3, 4, 5]", "[9, 9, 1, 1]", "[0, 0, 505, 9]", "[0, 0, 9, 253]", "[-1, 0, 9, 9]", "[5, 5, 5, 9]",
    '["1", "2", "3", "4"]', "[true, false, 3, 4]", "[null, 0, 1, 1]", "[NaN, 0, 1, 1]", "[0, 0, 1e999, 1]", "7",
    "[[0, 0], [9, 9]]", "[" * 400, f"[0, 0, {'9' * 400}, 1]", "[0, 0, 9, 9",
])  # fmt: skip
def test_what_is_no_box_of_qwen2_5_vl_stays_text(numbers):
    assert parse_boxes(f'{{"bbox_2d": {numbers}, "label": "x"}}', JSON_PIXELS, SIZE, GRID) == []


@pytest.mark.parametrize("text", [
    "{}", "{[}", '{"label": "x"}', '{"bbox_2d": [0, 0, 9, 9], "label": 7}', "red circle(100,200),(300,400)",
    json.dumps([{"bbox_2d": [n, 0, n + 1, 9]} for n in range(MAX_BOXES + 1)]),
])  # fmt: skip
def test_other_json_and_other_text_stays_text(text):
    assert parse_boxes(text, JSON_PIXELS, SIZE, GRID) == []


def test_other_models_and_pictures_that_were_not_seen_have_no_boxes():
    assert parse_boxes("red circle(100,200),(300,400)", "whatever", SIZE, GRID) == []
    assert parse_boxes(ONE, JSON_PIXELS, SIZE) == []


PIECES = ["(", ")", ",", " ", "1", "999", "1000", "(1,2)", "(1,2),(3,4)", "{", "}", "[", "]", '"bbox_2d": ', '"', "\n",
          "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", ONE, "cat", "狗"]  # fmt: skip


ANSWERS = st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text()


@given(ANSWERS, st.sampled_from([TEXT_THOUSANDTHS, JSON_PIXELS, JSON_THOUSANDTHS]))
def test_whatever_is_written_boxes_lie_in_the_picture(text, box_format):
    for found in parse_boxes(text, box_format, SIZE, GRID):
        x1, y1, x2, y2 = found.corners
        assert 0 <= x1 < x2 <= SIZE[0] and 0 <= y1 < y2 <= SIZE[1]


HARD = ["(1,2),", "(" * 9, "{", '{"a": ', " ", "\n", "<|object_ref_start|>", "<|", "(1 ", "()"]


@pytest.mark.parametrize("piece", HARD)
@pytest.mark.parametrize("box_format", [TEXT_THOUSANDTHS, JSON_PIXELS])
def test_time_grows_with_the_length_of_the_text_and_no_faster(piece, box_format):
    began = time.perf_counter()
    parse_boxes(piece * (300_000 // len(piece)), box_format, SIZE, GRID)
    assert time.perf_counter() - began < 5, "seconds; with quadratic time it would be minutes"


def test_the_practice_model_finds_a_circle(ov_model, processor):
    shape = scenes.Shape("circle", "red", 0.35, 0.55, 0.2)
    scene = scenes.draw([shape], size=(336, 224))
    question = [{"type": "image", "image": scene}, {"type": "text", "text": "Locate the red circle."}]
    answer = "".join(ChatSession(ov_model, processor).stream([{"role": "user", "content": question}]))
    (found,) = parse_boxes(answer, TEXT_THOUSANDTHS, scene.size)
    assert found.label == "red circle"
    assert found.corners == pytest.approx(scenes.box(shape, scene.size), abs=0.1 * scene.width)
