"""figures/charts.py and figures/pictures.py: the numbers that a figure is given are where the figure shows them."""

import pytest
from PIL import Image, ImageFont
from transformers import Qwen2_5_VLProcessor, Qwen3VLProcessor

from figures.charts import AXES, bar_chart, position_chart
from figures.deepstack import deepstack_shares, random_qwen3_vl
from figures.pictures import INK, draw_box, side_by_side, token_grid
from tests.fake_model import fake_processor

MAGENTA = (255, 0, 255)


def test_token_grid_draws_a_line_around_each_token():
    figure = token_grid(Image.new("RGB", (50, 50), "white"), (1, 4, 12))  # 2 by 6 visual tokens
    assert figure.width == 6 * 28
    lines = [x for x in range(figure.width) if figure.getpixel((x, 14)) == INK]
    assert lines == [0, 28, 56, 84, 112, 140, 167]
    lines = [y for y in range(56) if figure.getpixel((14, y)) == INK]
    assert lines == [0, 28, 55]


def test_box_is_drawn_in_thousandths_of_the_picture():
    drawn = draw_box(Image.new("RGB", (200, 100), "white"), "red circle(100,200),(600,800)")
    painted = [(x, y) for x in range(200) for y in range(100) if drawn.getpixel((x, y)) == MAGENTA]
    assert (min(painted), max(painted)) == ((20, 20), (120, 80))


@pytest.mark.parametrize("family, answer", [
    (Qwen3VLProcessor, '[{"bbox_2d": [100, 200, 600, 800], "label": "red circle"}]'),
    (Qwen2_5_VLProcessor, '[{"bbox_2d": [20, 22, 118, 90], "label": "red circle"}]'),  # of 196 × 112 pixels
])  # fmt: skip
def test_boxes_of_its_successors_are_drawn_where_they_write_them(family, answer):
    processor = object.__new__(family)
    processor.image_processor = fake_processor().image_processor
    drawn = draw_box(Image.new("RGB", (200, 100), "white"), answer, processor)
    painted = [(x, y) for x in range(200) for y in range(100) if drawn.getpixel((x, y)) == MAGENTA]
    assert (*min(painted), *max(painted)) == pytest.approx((20, 20, 120, 80), abs=1)


def test_only_the_first_box_is_drawn():
    picture = Image.new("RGB", (200, 100), "white")
    first = "red circle(100,200),(600,800)"
    assert draw_box(picture, f"{first} blue star(0,0),(50,50)").tobytes() == draw_box(picture, first).tobytes()


def test_swapped_corners_are_no_box_as_on_the_page():
    picture = Image.new("RGB", (200, 100), "white")
    assert draw_box(picture, "(600,800),(100,200)").tobytes() == picture.tobytes()


def test_answer_without_a_box_leaves_the_picture_as_it_is():
    picture = Image.new("RGB", (20, 10), "white")
    assert draw_box(picture, "There is no red circle.").tobytes() == picture.tobytes()


def test_side_by_side_keeps_every_picture_whole():
    red, blue = Image.new("RGB", (30, 10), "red"), Image.new("RGB", (20, 40), "blue")
    row = side_by_side([red, blue], gap=5)
    assert row.size == (55, 40)
    assert row.crop((0, 0, 30, 10)).tobytes() == red.tobytes()
    assert row.crop((35, 0, 55, 40)).tobytes() == blue.tobytes()


def test_position_chart_places_each_axis_at_its_height():
    chart = position_chart([[0, 2, 2], [0, 2, 3], [0, 2, 4]], "three tokens", size=(240, 136))  # plot: 168 by 64
    last = {name: chart.getpixel((204, y)) for name, y in {"time": 68, "height": 52, "width": 36}.items()}
    assert last == AXES


def test_bars_are_as_long_as_their_numbers():
    chart = bar_chart({"first": {"a": 2.0, "b": 1.0}, "second": {"a": 0.0, "b": 0.5}}, "s")
    painted = {colour: sorted(sum(chart.getpixel((x, y)) == colour for x in range(chart.width))
                              for y in range(chart.height)) for colour in list(AXES.values())[:2]}
    longest, half = painted[AXES["time"]][-1], painted[AXES["height"]][-1]
    assert abs(half * 2 - longest) <= 3
    assert set(painted[AXES["height"]]) >= {half} and any(abs(n * 4 - longest) <= 4 for n in painted[AXES["height"]])


def test_bars_begin_behind_the_longest_name():
    chart = bar_chart({"": {"short": 1.0, "closest to the original": 1.0}}, "s")
    begin = next(x for x in range(chart.width) if chart.getpixel((x, 35)) == AXES["time"])
    assert begin > 24 + ImageFont.load_default(13).getlength("closest to the original")


def test_a_level_of_deepstack_moves_its_layer_and_those_behind_and_none_before():
    shares = deepstack_shares(random_qwen3_vl(), Image.radial_gradient("L").convert("RGB").resize((224, 160)))
    assert len(shares) == 3
    for level, layers in enumerate(shares.values()):
        values = list(layers.values())
        assert len(values) == 6 and not any(values[:level])
        assert min(values[level:]) > 0.1
