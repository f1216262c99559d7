"""Boxes and points in an answer: from the coordinates that a model wrote to pixels of the picture.

    parse_boxes("There are two things: red circle(100,200),(300,400)", TEXT_THOUSANDTHS, (500, 250))
    # [Box(label="red circle", corners=(50, 50, 150, 100))]

Here: the convention of each family. Not here: which picture an answer is about, drawing (`figures.boxes`).

TEXT_THOUSANDTHS  Qwen2-VL: thousandths of the picture's width and height, "red circle(100,200),(300,400)", where
                  <|object_ref_start|>…<|object_ref_end|> and <|box_start|>…<|box_end|> may stand around label and
                  corners; ChatSession leaves these tokens out. https://arxiv.org/abs/2409.12191
JSON_PIXELS       Qwen2.5-VL: [{"bbox_2d": [x1, y1, x2, y2], "label": "red circle"}] or "point_2d": [x, y], in pixels of
                  the picture as the model was shown it, resized to whole patches. https://arxiv.org/abs/2502.13923
JSON_THOUSANDTHS  Qwen3-VL: the same JSON, in thousandths. https://arxiv.org/abs/2511.21631
                  For both https://github.com/QwenLM/Qwen3-VL (cookbooks/2d_grounding.ipynb)

What is malformed, reversed or outside the picture is no box, and coordinates that a sentence speaks of are none either.
The regular expressions are bounded, so that time grows with the length of the text and no faster.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from adapters.qwen_vl import JSON_PIXELS, JSON_THOUSANDTHS, PATCH_SIZE, TEXT_THOUSANDTHS

THOUSANDTHS = (1000, 1000)
MAX_BOXES = 100  # more is a model that repeats itself
MAX_LABEL = 60  # characters

# As the models were trained, without spaces inside: "(0, 0), (10, 10)" is mathematics.
_POINT = r"\(([0-9]{1,4}),([0-9]{1,4})\)"
_POINTS = re.compile(rf"{_POINT}(?:\s{{0,2}},\s{{0,2}}{_POINT}){{0,200}}")
_TOKENS = re.compile(r"<\|(?:box_start|box_end|object_ref_end)\|>")
_LABEL_START = "<|object_ref_start|>"
_JSON_OBJECT = re.compile(r"\{[^{}]{1,500}\}")
_LABEL_KEYS = ("label", "text_content", "text")
# Words of a sentence around the name of a thing: "I see a red circle at".
_BEFORE_NAME = re.compile(
    r"[.:;,!?()\[\]\"、，。：；]|\b(?:and|or|is|are|see|shows?|find|found|here|there)\b", re.IGNORECASE
)
_AFTER_NAME = re.compile(r"\b(?:at|in|on|located|which|that)\b.*", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)
_GEOMETRY = re.compile(  # what comes then are coordinates, not a box
    r"\b(?:points?|vert(?:ex|ices)|corners?|segments?|lines?|coordinates?|from|between|to|through)"
    r"(?: (?:is|are))?(?: at)?:?\s*$",
    re.IGNORECASE,
)
_MAX_SENTENCE = 300  # characters before a box that its name is looked for in

Corners = tuple[int, int, int, int]


@dataclass(frozen=True)
class Box:
    """A bounding box, or a point, and what the model calls it; "" where it says nothing.

    corners: x1, y1, x2, y2 in pixels of the picture, left before right and top before bottom. Of a point, they are the
    pixel.
    """

    label: str
    corners: Corners
    is_point: bool = False


def parse_boxes(text: str, box_format: str, size: tuple[int, int], grid: tuple[int, int] | None = None) -> list[Box]:
    """The boxes in `text`, an answer in `box_format` about a picture of `size` (width, height).

    grid: (height, width) in patches of the picture as the model was shown it; only JSON_PIXELS needs it. An empty list
    where there is no box, where there are more than MAX_BOXES, and for every other format.
    """
    scale = THOUSANDTHS
    if box_format == TEXT_THOUSANDTHS:
        found = _in_text(text)
    elif box_format == JSON_THOUSANDTHS:
        found = _in_json(text)
    elif box_format == JSON_PIXELS and grid:
        found = _in_json(text)
        scale = (grid[1] * PATCH_SIZE, grid[0] * PATCH_SIZE)
    else:
        return []
    inside = [(label, tuple(numbers)) for label, numbers in found if _is_inside(numbers, scale)]
    distinct = list(dict.fromkeys(inside))  # a model at a loss says the same again
    return [_in_picture(*box, scale, size) for box in distinct] if len(distinct) <= MAX_BOXES else []


def rescaled(corners, scale: tuple[int, int], size: tuple[int, int]) -> Corners:
    """Corners in a picture of `size` (width, height), given those in one of `scale`; a pixel wide and high at least."""
    x1, y1, x2, y2 = corners
    return (
        math.floor(x1 * size[0] / scale[0]),
        math.floor(y1 * size[1] / scale[1]),
        math.ceil(x2 * size[0] / scale[0]),
        math.ceil(y2 * size[1] / scale[1]),
    )


def _in_picture(label: str, numbers: tuple, scale: tuple[int, int], size: tuple[int, int]) -> Box:
    if len(numbers) == 4:
        return Box(label, rescaled(numbers, scale, size))
    x, y = (min(math.floor(n * of / to), of - 1) for n, of, to in zip(numbers, size, scale, strict=True))
    return Box(label, (x, y, x + 1, y + 1), is_point=True)


def _is_inside(numbers: list, scale: tuple[int, int]) -> bool:
    """Two corners, the first before the second, or one point; none of them outside the picture."""
    if not all(type(number) in (int, float) for number in numbers):
        return False
    width, height = scale
    if len(numbers) == 2:
        return 0 <= numbers[0] <= width and 0 <= numbers[1] <= height  # never true of NaN
    x1, y1, x2, y2 = numbers
    return 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height


# ---- Qwen2-VL -------------------------------------------------------------------------------------------------------


def _in_text(text: str) -> Iterator[tuple[str, list[int]]]:
    """Labels and corners in thousandths. A box without words before it is one more of the thing before."""
    text = _TOKENS.sub("", text)
    label = ""
    end_of_last_box = 0
    for match in _POINTS.finditer(text):
        before = text[max(end_of_last_box, match.start() - _MAX_SENTENCE) : match.start()]
        end_of_last_box = match.end()
        numbers = [int(number) for number in re.findall("[0-9]+", match[0])]
        last_line = before.rstrip().rpartition("\n")[2]
        if len(numbers) % 4 or (_GEOMETRY.search(last_line) and _LABEL_START not in before):
            continue
        label = _label(last_line) or label
        yield from ((label, numbers[at : at + 4]) for at in range(0, len(numbers), 4))


def _label(before: str) -> str:
    """What the words before a box call it: what the tokens enclose, else the name that the sentence ends with."""
    if _LABEL_START in before:
        return _shortened(before.rpartition(_LABEL_START)[2].strip())
    for phrase in reversed(_BEFORE_NAME.split(re.sub("[*`]", "", before))):
        name = _ARTICLE.sub("", _AFTER_NAME.sub("", phrase).strip(" \t'-"))
        if name:
            return _shortened(name)
    return ""


def _shortened(label: str) -> str:
    """The end of a long one: what is meant stands right before its box."""
    return label if len(label) <= MAX_LABEL else f"…{label[-MAX_LABEL:]}"


# ---- Qwen2.5-VL, Qwen3-VL -------------------------------------------------------------------------------------------


def _in_json(text: str) -> Iterator[tuple[str, list]]:
    """Labels and numbers, not checked yet. Object by object, because an answer may end within the list around them."""
    for match in _JSON_OBJECT.finditer(text):
        try:
            found = json.loads(match[0])
        except (ValueError, RecursionError):
            continue
        label = next((found[key] for key in _LABEL_KEYS if key in found), "")
        for key, count in (("bbox_2d", 4), ("point_2d", 2)):
            numbers = found.get(key)
            if isinstance(numbers, list) and len(numbers) == count and isinstance(label, str):
                yield _shortened(label.strip()), numbers
