"""chat_page.boxes: what models write, what is not a box, and whether a person can see and read what is drawn."""

import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageColor

from chat_page import boxes
from chat_page.boxes import DARK, MAX_BOXES, MAX_LABEL, PALETTE, SIDES, Box, draw, find
from tiny_model import scenes

SIZE = (500, 250)
GRID = (18, 36)  # 252 x 504 pixels
RESIZED = (504, 252)


def tokens(label: str, corners: str) -> str:
    return f"<|object_ref_start|>{label}<|object_ref_end|><|box_start|>{corners}<|box_end|>"


# ---- Qwen2-VL -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "red circle(100,200),(300,400)", tokens("red circle", "(100,200),(300,400)"),
    "red circle: (100, 200), (300, 400).", "Here it is:\nred circle (100,200),(300,400)",
    "red circle<|box_start|>(100,200),(300,400)<|box_end|>",
    f"Here is the {tokens('red circle', '(100,200),(300,400)')} that you meant.",
])  # fmt: skip
def test_thousandths_become_pixels_of_the_picture(text):
    assert find(text, "qwen2_vl", SIZE) == [Box("red circle", (50, 50, 150, 100))]


def test_every_box_has_the_label_before_it_and_one_without_has_the_last():
    text = "red circle(0,0),(10,20)blue square(20,20),(30,40), (40,40),(50,60)"
    found = [(box.label, box.corners) for box in find(text, "qwen2_vl", (1000, 1000))]
    assert found == [
        ("red circle", (0, 0, 10, 20)), ("blue square", (20, 20, 30, 40)), ("blue square", (40, 40, 50, 60)),
    ]  # fmt: skip


def test_a_box_without_words_has_no_label():
    assert find("(0,0),(1000,1000)", "qwen2_vl", SIZE) == [Box("", (0, 0, *SIZE))]


def test_a_box_that_is_said_again_is_one_box():
    assert len(find("red circle(100,200),(300,400)" * 500, "qwen2_vl", SIZE)) == 1


def test_a_long_label_is_cut_and_keeps_what_stands_before_the_box():
    (found,) = find("a" * 5000 + " red circle(100,200),(300,400)", "qwen2_vl", SIZE)
    assert found.label.endswith(" red circle") and len(found.label) == MAX_LABEL + 1


# ---- Qwen2.5-VL -----------------------------------------------------------------------------------------------------


ONE = '{"bbox_2d": [126, 63, 252, 126], "label": "red circle"}'


@pytest.mark.parametrize("text", [
    ONE, f"[{ONE}]", f"```json\n[\n\t{ONE}\n]\n```", f"Here: {ONE} and more.", f'[{ONE}, {{"bbox_2d": [1, 2',
    ONE.replace("126,", "126.0,"), f"[{ONE}, {ONE}]",
])  # fmt: skip
def test_pixels_of_the_resized_picture_become_pixels_of_the_picture(text):
    assert find(text, "qwen2_5_vl", RESIZED, GRID) == [Box("red circle", (126, 63, 252, 126))]
    assert find(text, "qwen2_5_vl", (1008, 252), GRID) == [Box("red circle", (252, 63, 504, 126))]


def test_json_without_a_label():
    assert find('[{"bbox_2d": [0, 0, 504, 252]}]', "qwen2_5_vl", SIZE, GRID) == [Box("", (0, 0, *SIZE))]


# ---- what is no box -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "", "It is red.", "(1,2)", "(1,2),(3", "(300,400),(100,200)", "(100,400),(300,200)", "(5,5),(5,9)",
    "(0,0),(1001,9)", "(-1,0),(9,9)", "(1.5,2),(3,4)", "(٣,٤),(٥,٦)", "(1,2),(3,4444444444)", "((((1,2),(",
    "f(1,2), g(3,4)", "".join(f"dot({n},0),({n + 1},9)" for n in range(MAX_BOXES + 1)), ONE,
])  # fmt: skip
def test_what_is_no_box_of_qwen2_vl_stays_text(text):
    assert find(text, "qwen2_vl", SIZE, GRID) == []


@pytest.mark.parametrize("numbers", [
    "[1, 2, 3]", "[1, 2, 3, 4, 5]", "[9, 9, 1, 1]", "[0, 0, 505, 9]", "[0, 0, 9, 253]", "[-1, 0, 9, 9]", "[5, 5, 5, 9]",
    '["1", "2", "3", "4"]', "[true, false, 3, 4]", "[null, 0, 1, 1]", "[NaN, 0, 1, 1]", "[0, 0, 1e999, 1]", "7",
    "[[0, 0], [9, 9]]", "[" * 400, f"[0, 0, {'9' * 400}, 1]", "[0, 0, 9, 9",
])  # fmt: skip
def test_what_is_no_box_of_qwen2_5_vl_stays_text(numbers):
    assert find(f'{{"bbox_2d": {numbers}, "label": "x"}}', "qwen2_5_vl", SIZE, GRID) == []


@pytest.mark.parametrize("text", [
    "{}", "{[}", '{"label": "x"}', '{"bbox_2d": [0, 0, 9, 9], "label": 7}', "red circle(100,200),(300,400)",
    json.dumps([{"bbox_2d": [n, 0, n + 1, 9]} for n in range(MAX_BOXES + 1)]),
])  # fmt: skip
def test_other_json_and_other_text_stays_text(text):
    assert find(text, "qwen2_5_vl", SIZE, GRID) == []


def test_other_models_and_pictures_that_were_not_seen_have_no_boxes():
    assert find("red circle(100,200),(300,400)", "llava", SIZE, GRID) == []
    assert find(ONE, "qwen2_5_vl", SIZE) == []


PIECES = ["(", ")", ",", " ", "1", "999", "1000", "(1,2)", "(1,2),(3,4)", "{", "}", "[", "]", '"bbox_2d": ', '"', "\n",
          "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", ONE, "cat", "狗"]  # fmt: skip


ANSWERS = st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text()


@given(ANSWERS, st.sampled_from(["qwen2_vl", "qwen2_5_vl"]))
def test_whatever_is_written_boxes_lie_in_the_picture(text, kind):
    for found in find(text, kind, SIZE, GRID):
        x1, y1, x2, y2 = found.corners
        assert 0 <= x1 < x2 <= SIZE[0] and 0 <= y1 < y2 <= SIZE[1]


HARD = ["(1,2),", "(" * 9, "{", '{"a": ', " ", "\n", "<|object_ref_start|>", "<|", "(1 ", "()"]


@pytest.mark.parametrize("piece", HARD)
@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl"])
def test_time_grows_with_the_length_of_the_text_and_no_faster(piece, kind):
    began = time.perf_counter()
    find(piece * (300_000 // len(piece)), kind, SIZE, GRID)
    assert time.perf_counter() - began < 5, "seconds; with quadratic time it would be minutes"


def test_the_practice_model_finds_a_circle(int4_dir):
    from optimum.intel.openvino import OVModelForVisualCausalLM
    from transformers import AutoProcessor

    from chat_session import ChatSession

    shape = scenes.Shape("circle", "red", 0.35, 0.55, 0.2)
    scene = scenes.draw([shape], size=(336, 224))
    model = OVModelForVisualCausalLM.from_pretrained(int4_dir, device="CPU", compile=False)
    question = [{"type": "image", "image": scene}, {"type": "text", "text": "Locate the red circle."}]
    session = ChatSession(model, AutoProcessor.from_pretrained(int4_dir))
    answer = "".join(session.stream([{"role": "user", "content": question}]))
    (found,) = find(answer, model.config.model_type, scene.size)
    assert found.label == "red circle"
    assert found.corners == pytest.approx(scenes.box(shape, scene.size), abs=0.1 * scene.width)


# ---- drawing --------------------------------------------------------------------------------------------------------


def contrast(one, other) -> float:
    """WCAG's ratio between two colours, 1 to 21."""

    def luminance(colour) -> float:
        parts = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in np.array(colour) / 255]
        return float(np.dot(parts, (0.2126, 0.7152, 0.0722)))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("ground", ["white", "black", "#808080", *PALETTE])
@pytest.mark.parametrize("size", [(30, 30), (500, 300), (4000, 3000)])
def test_a_frame_stands_out_against_any_background_in_any_size(ground, size):
    drawn = draw(Image.new("RGB", size, ground), [Box("", (size[0] // 5, size[1] // 5, size[0], size[1]))])
    row = np.array(drawn)[drawn.height // 2]
    assert max(contrast(pixel, ImageColor.getrgb(ground)) for pixel in row) >= 3


@pytest.mark.parametrize("colour", PALETTE)
def test_a_label_is_read_on_its_ground(colour):
    ink = "white" if colour == DARK else "black"
    assert contrast(ImageColor.getrgb(colour), ImageColor.getrgb(ink)) >= 4.5


@pytest.fixture
def placed(monkeypatch):
    """Where labels were drawn, in order."""
    places, draw_label = [], boxes._draw_label
    monkeypatch.setattr(boxes, "_draw_label", lambda *args: places.append(draw_label(*args)) or places[-1])
    return places


EDGES = [(0, 0, 9, 9), (491, 0, 500, 9), (0, 291, 9, 300), (491, 291, 500, 300), (0, 0, 500, 300), (250, 0, 251, 300)]


@pytest.mark.parametrize("corners", EDGES)
@pytest.mark.parametrize("label", ["dot", "a red circle " * 9])
def test_a_label_stays_inside_the_picture_and_is_cut_where_it_is_too_long(placed, corners, label):
    drawn = draw(Image.new("RGB", (500, 300)), [Box(label, corners)])
    ((x1, y1, x2, y2),) = placed
    assert 0 <= x1 < x2 <= drawn.width and 0 <= y1 < y2 <= drawn.height
    ground = (np.array(drawn)[y1:y2, x1:x2] == ImageColor.getrgb(PALETTE[0])).all(axis=-1)
    assert 0.4 < ground.mean() < 0.95, "the ground, with letters on it"


def test_labels_do_not_cover_each_other(placed):
    draw(Image.new("RGB", (500, 300)), [Box(label, (100, 100, 300, 200)) for label in ("cat", "dog", "bird")])
    assert not any(boxes._overlap(one, other) for i, one in enumerate(placed) for other in placed[:i])


def test_letters_that_no_font_has_get_the_number_of_the_box(monkeypatch):
    monkeypatch.setattr(boxes, "FONTS", ("no such font",))
    one, other, number = (Box(label, (10, 10, 90, 90)) for label in ("one", "狗", "2"))
    assert draw(Image.new("RGB", SIZE), [one, other]) == draw(Image.new("RGB", SIZE), [one, number])


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (640, 480), (5000, 40), (3000, 4000)])
def test_any_picture_can_be_drawn_on_and_is_not_changed(size):
    image = Image.new("RGB", size, "white")
    drawn = draw(image, [Box("a red circle", (0, 0, *size)), Box("", (0, 0, 1, 1))])
    assert SIDES[0] <= max(drawn.size) <= SIDES[1]
    assert drawn.width / drawn.height == pytest.approx(size[0] / size[1], rel=0.6 if min(size) < 9 else 0.03)
    assert image.size == size and image.getcolors() == [(size[0] * size[1], (255, 255, 255))]


def test_boxes_with_the_same_label_have_the_same_colour():
    cats = [Box("cat", (0, 0, 90, 90)), Box("dog", (200, 0, 290, 90)), Box("cat", (400, 0, 490, 90))]
    found = {colour for _, colour in draw(Image.new("RGB", SIZE), cats).getcolors(100_000)}
    used = [colour for colour in PALETTE if ImageColor.getrgb(colour) in found]
    assert used == list(PALETTE[:2])
