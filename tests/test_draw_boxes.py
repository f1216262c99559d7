"""chat_page.draw_boxes and figures.boxes: on which picture boxes are drawn, and whether people can read them."""

import numpy as np
import pytest
from PIL import Image, ImageColor
from transformers import Qwen2_5_VLProcessor

from chat_page import draw_boxes as module
from chat_page.draw_boxes import with_drawn_boxes
from chat_page.examples import CAT
from figures import boxes as drawing
from figures.boxes import DARK, MAX_SIDE, MIN_SIDE, PALETTE, draw_boxes
from session.boxes import Box
from tests.fake_model import fake_processor

SIZE = (500, 250)
PROCESSOR = fake_processor()
ANSWER = {"role": "assistant", "content": "Yes.", "note": "first word 1.0 s"}
ASKED = [{"role": "user", "content": [{"type": "image", "image": CAT}, {"type": "text", "text": "Where?"}]}]


# ---- which picture --------------------------------------------------------------------------------------------------


FOUND = {**ANSWER, "content": "cat(0,0),(500,500)"}


def test_boxes_are_drawn_on_the_picture_and_not_without_one():
    assert "boxed" in with_drawn_boxes(FOUND, ASKED, PROCESSOR, None)
    assert with_drawn_boxes(FOUND, [{"role": "user", "content": "Where?"}], PROCESSOR, None) == FOUND
    assert with_drawn_boxes(ANSWER, ASKED, PROCESSOR, None) == ANSWER


def question(text: str, *pictures) -> dict:
    parts = [{"type": "image", "image": picture} for picture in pictures]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


@pytest.mark.parametrize(("answer", "asked", "meant"), [
    ("cat", [question("Where?", "a")], "a"),
    ("cat", [question("What?", "a"), question("And here?", "b")], "b"),
    ("cat", [question("What?", "a"), question("Where?")], "a"),
    ("cat", [question("Where?", "a", "b")], None),
    ("cat", [question("What?", "a"), question("And here?", "b"), question("Where was it?")], None),
    ("In the second picture: cat", [question("Where?", "a", "b")], "b"),
    ("cat", [question("Where is it in the First image?", "a", "b")], "a"),
    ("cat", [question("Look at picture 2.", "a", "b")], "b"),
    ("The last one: cat", [question("Not in the first picture?", "a", "b", "c")], "c"),
    ("In the first picture and in the second picture: cat", [question("Where?", "a", "b")], None),
    ("In the third picture: cat", [question("Where?", "a", "b")], None),
])
def test_the_picture_that_is_meant(answer, asked, meant):
    between = [{"role": "assistant", "content": "Yes."}]
    asked = [message for one in asked for message in (one, *between)][:-1]
    found = module._picture_meant(answer, asked)
    assert (found and found["image"]) == meant


@pytest.mark.parametrize("fails", ["load_image", "save_pil_to_cache", "draw_boxes"])
def test_a_failure_while_drawing_does_not_cost_the_answer(monkeypatch, fails):
    def fail(*args, **options):
        raise OSError("No space left on device")

    monkeypatch.setattr(module, fails, fail)
    assert with_drawn_boxes(FOUND, ASKED, PROCESSOR, None) == FOUND


def test_boxes_in_pixels_are_those_of_the_picture_as_it_was_encoded():
    timed = object.__new__(Qwen2_5_VLProcessor)  # nothing of it but its pictures is asked for
    timed.image_processor = PROCESSOR.image_processor
    width = PROCESSOR.image_processor(images=[Image.open(CAT)], return_tensors="pt")["image_grid_thw"][0, 2].item() * 14

    def boxed(right: int, visual_tokens: int | None) -> bool:
        found = {**ANSWER, "content": f'[{{"bbox_2d": [0, 0, {right}, 20], "label": "cat"}}]'}
        return "boxed" in with_drawn_boxes(found, ASKED, timed, visual_tokens)

    assert (boxed(width, None), boxed(width + 1, None), boxed(width, 6)) == (True, False, False)


# ---- frames and labels ----------------------------------------------------------------------------------------------


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
    drawn = draw_boxes(Image.new("RGB", size, ground), [Box("", (size[0] // 5, size[1] // 5, size[0], size[1]))])
    row = np.array(drawn)[drawn.height // 2]
    assert max(contrast(pixel, ImageColor.getrgb(ground)) for pixel in row) >= 3


@pytest.mark.parametrize("colour", PALETTE)
def test_a_label_is_read_on_its_ground(colour):
    ink = "white" if colour == DARK else "black"
    assert contrast(ImageColor.getrgb(colour), ImageColor.getrgb(ink)) >= 4.5


@pytest.fixture
def label_areas(monkeypatch):
    """Where labels were drawn, in order."""
    areas, draw_label = [], drawing._draw_label
    monkeypatch.setattr(drawing, "_draw_label", lambda *args: areas.append(draw_label(*args)) or areas[-1])
    return areas


EDGES = [(0, 0, 9, 9), (491, 0, 500, 9), (0, 291, 9, 300), (491, 291, 500, 300), (0, 0, 500, 300), (250, 0, 251, 300)]


@pytest.mark.parametrize("corners", EDGES)
@pytest.mark.parametrize("label", ["dot", "a red circle " * 9])
def test_a_label_stays_inside_the_picture_and_is_cut_where_it_is_too_long(label_areas, corners, label):
    drawn = draw_boxes(Image.new("RGB", (500, 300)), [Box(label, corners)])
    ((x1, y1, x2, y2),) = label_areas
    assert 0 <= x1 < x2 <= drawn.width and 0 <= y1 < y2 <= drawn.height
    ground = (np.array(drawn)[y1:y2, x1:x2] == ImageColor.getrgb(PALETTE[0])).all(axis=-1)
    assert 0.4 < ground.mean() < 0.95, "the ground, with letters on it"


def test_labels_do_not_cover_each_other(label_areas):
    draw_boxes(Image.new("RGB", (500, 300)), [Box(label, (100, 100, 300, 200)) for label in ("cat", "dog", "bird")])
    assert not any(drawing._overlap(one, other) for i, one in enumerate(label_areas) for other in label_areas[:i])


def test_letters_that_no_font_has_get_the_number_of_the_box(monkeypatch):
    monkeypatch.setattr(drawing, "FONTS", ("no such font",))
    one, other, number = (Box(label, (10, 10, 90, 90)) for label in ("one", "狗", "2"))
    assert draw_boxes(Image.new("RGB", SIZE), [one, other]) == draw_boxes(Image.new("RGB", SIZE), [one, number])


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (640, 480), (5000, 40), (3000, 4000)])
def test_any_picture_can_be_drawn_on_and_is_not_changed(size):
    image = Image.new("RGB", size, "white")
    drawn = draw_boxes(image, [Box("a red circle", (0, 0, *size)), Box("", (0, 0, 1, 1))])
    assert MIN_SIDE <= max(drawn.size) <= MAX_SIDE
    assert drawn.width / drawn.height == pytest.approx(size[0] / size[1], rel=0.6 if min(size) < 9 else 0.03)
    assert image.size == size and image.getcolors() == [(size[0] * size[1], (255, 255, 255))]


def test_a_point_is_a_dot_with_its_label(label_areas):
    point = Box("nose", (239, 239, 240, 240), is_point=True)
    drawn = np.array(draw_boxes(Image.new("RGB", (480, 480), "red"), [point]))
    assert [tuple(drawn[239, x]) for x in (239, 245)] == [(0, 0, 0), ImageColor.getrgb(PALETTE[0])]
    assert tuple(drawn[239, 260]) == (255, 0, 0) and len(label_areas) == 1


def test_boxes_with_the_same_label_have_the_same_colour():
    cats = [Box("cat", (0, 0, 90, 90)), Box("dog", (200, 0, 290, 90)), Box("cat", (400, 0, 490, 90))]
    found = {colour for _, colour in draw_boxes(Image.new("RGB", SIZE), cats).getcolors(100_000)}
    used = [colour for colour in PALETTE if ImageColor.getrgb(colour) in found]
    assert used == list(PALETTE[:2])
