"""Boxes in an answer: from the coordinates that a model wrote to pixels of the picture.

    parse_boxes("red circle(100,200),(300,400)", "qwen2_vl", (500, 250))
    # [Box(label="red circle", corners=(50, 50, 150, 100))]

Here: the convention of each family. Not here: which picture an answer is about, drawing (`chat_page.draw_boxes`).

qwen2_vl     thousandths of the picture's width and height, "red circle(100,200),(300,400)", where
             <|object_ref_start|>…<|object_ref_end|> and <|box_start|>…<|box_end|> may stand around label and
             corners; ChatSession leaves these tokens out. https://arxiv.org/abs/2409.12191
qwen2_5_vl   JSON, [{"bbox_2d": [x1, y1, x2, y2], "label": "red circle"}], in pixels of the picture as the model was
             shown it, resized to whole patches. https://arxiv.org/abs/2502.13923 and
             https://github.com/QwenLM/Qwen2.5-VL (cookbooks/spatial_understanding.ipynb)

What is malformed, reversed or outside the picture is no box. The regular expressions are bounded, so that time grows
with the length of the text and no faster.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from adapters.qwen_vl import PATCH_SIZE

THOUSANDTHS = (1000, 1000)
MAX_BOXES = 100  # more is a model that repeats itself
MAX_LABEL = 60  # characters

_NUMBER = r"\s{0,2}([0-9]{1,4})\s{0,2}"
_CORNER = rf"\({_NUMBER},{_NUMBER}\)"
_BOX = re.compile(rf"{_CORNER}\s{{0,2}},\s{{0,2}}{_CORNER}")
_BOX_TOKENS = re.compile(r"<\|box_(?:start|end)\|>")
_LABEL_START, _LABEL_END = "<|object_ref_start|>", "<|object_ref_end|>"
_JSON_OBJECT = re.compile(r"\{[^{}]{1,500}\}")
_AROUND_LABEL = " \t\r\n.,;:()[]\"'*-"

Corners = tuple[int, int, int, int]


@dataclass(frozen=True)
class Box:
    """A bounding box and what the model calls it; "" where it says nothing.

    corners: x1, y1, x2, y2 in pixels of the picture, left before right and top before bottom.
    """

    label: str
    corners: Corners


def parse_boxes(text: str, model_type: str, size: tuple[int, int], grid: tuple[int, int] | None = None) -> list[Box]:
    """The boxes in `text`, an answer of a model of `model_type` about a picture of `size` (width, height).

    grid: (height, width) in patches of the picture as the model was shown it; only qwen2_5_vl needs it. An empty list
    where there is no box, where there are more than MAX_BOXES, and for every other model type.
    """
    if model_type == "qwen2_vl":
        found = _in_text(text)
        scale = THOUSANDTHS
    elif model_type == "qwen2_5_vl" and grid:
        found = _in_json(text)
        scale = (grid[1] * PATCH_SIZE, grid[0] * PATCH_SIZE)
    else:
        return []
    inside = [(label, tuple(numbers)) for label, numbers in found if _is_inside(numbers, scale)]
    distinct = list(dict.fromkeys(inside))  # a model at a loss says the same again
    if len(distinct) > MAX_BOXES:
        return []
    return [Box(label, rescaled(numbers, scale, size)) for label, numbers in distinct]


def rescaled(corners, scale: tuple[int, int], size: tuple[int, int]) -> Corners:
    """Corners in a picture of `size` (width, height), given those in one of `scale`; a pixel wide and high at least."""
    x1, y1, x2, y2 = corners
    return (
        math.floor(x1 * size[0] / scale[0]),
        math.floor(y1 * size[1] / scale[1]),
        math.ceil(x2 * size[0] / scale[0]),
        math.ceil(y2 * size[1] / scale[1]),
    )


# ---- Qwen2-VL -------------------------------------------------------------------------------------------------------


def _in_text(text: str) -> Iterator[tuple[str, list[int]]]:
    """Labels and corners in thousandths. A box without words before it is one more of the thing before."""
    text = _BOX_TOKENS.sub("", text)
    label = ""
    end_of_last_box = 0
    for match in _BOX.finditer(text):
        label = _label(text[end_of_last_box : match.start()]) or label
        end_of_last_box = match.end()
        yield label, [int(number) for number in match.groups()]


def _label(before: str) -> str:
    """What the words before a box call it: what the tokens enclose, else the line that the box is in."""
    if _LABEL_START in before:
        before = before.rpartition(_LABEL_START)[2].partition(_LABEL_END)[0]
    last_line = before.strip(_AROUND_LABEL).rpartition("\n")[2]
    return _shortened(last_line.strip(_AROUND_LABEL))


def _shortened(label: str) -> str:
    """The end of a long one: what is meant stands right before its box."""
    return label if len(label) <= MAX_LABEL else f"…{label[-MAX_LABEL:]}"


# ---- Qwen2.5-VL -----------------------------------------------------------------------------------------------------


def _in_json(text: str) -> Iterator[tuple[str, list]]:
    """Labels and corners, not checked yet. Object by object, because an answer may end within the list around them."""
    for match in _JSON_OBJECT.finditer(text):
        try:
            found = json.loads(match[0])
        except (ValueError, RecursionError):
            continue
        numbers, label = found.get("bbox_2d"), found.get("label", "")
        if isinstance(numbers, list) and isinstance(label, str):
            yield _shortened(label.strip()), numbers


def _is_inside(numbers: list, scale: tuple[int, int]) -> bool:
    """Four numbers, the first corner before the second, none of them outside the picture."""
    if len(numbers) != 4 or not all(type(number) in (int, float) for number in numbers):
        return False
    x1, y1, x2, y2 = numbers
    width, height = scale
    return 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height  # never true of NaN
