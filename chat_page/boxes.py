"""Boxes in an answer: the coordinates that a model wrote, and the picture with them drawn on it.

Here: finding boxes in the text by the convention of each family, drawing them with their labels. Not here: which
picture the answer is about, web pages.

qwen2_vl     thousandths of the picture's width and height, "red circle(100,200),(300,400)", where
             <|object_ref_start|>…<|object_ref_end|> and <|box_start|>…<|box_end|> may stand around label and
             corners; ChatSession leaves these tokens out. https://arxiv.org/abs/2409.12191
qwen2_5_vl   JSON, [{"bbox_2d": [x1, y1, x2, y2], "label": "red circle"}], in pixels of the picture as the model was
             shown it, resized to whole patches. https://arxiv.org/abs/2502.13923 and
             https://github.com/QwenLM/Qwen2.5-VL (cookbooks/spatial_understanding.ipynb)

What is malformed, reversed or outside the picture is no box. Patterns are bounded: time grows as the text does.
"""

import functools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

PATCH = 14  # pixels, of both families
THOUSANDTHS = (1000, 1000)
MAX_BOXES = 100  # more is a model that repeats itself
MAX_LABEL = 60  # characters
SIDES = (480, 1280)  # the longer side of the drawn picture: labels can be read, and files stay small
PADDING = 0.6  # of a label, by its font's height
# Okabe and Ito's colours, told apart with any kind of colour blindness. https://jfly.uni-koeln.de/color/
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
DARK = "#0072B2"  # of these the one on which white is read better than black
# Pillow's own font has no more than ASCII; these are what systems have. What none of them can write gets a number.
FONTS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial.ttf", "msyh.ttc", "PingFang.ttc")

_NUMBER = r"\s{0,2}([0-9]{1,4})\s{0,2}"
_CORNER = rf"\({_NUMBER},{_NUMBER}\)"
_BOX = re.compile(rf"{_CORNER}\s{{0,2}},\s{{0,2}}{_CORNER}")
_REF_START, _REF_END, _BOX_TOKENS = "<|object_ref_start|>", "<|object_ref_end|>", re.compile(r"<\|box_(?:start|end)\|>")
_OBJECT = re.compile(r"\{[^{}]{1,500}\}")
_AROUND_LABEL = " \t\r\n.,;:()[]\"'*-"

Corners = tuple[int, int, int, int]


@dataclass(frozen=True)
class Box:
    """corners: x1, y1, x2, y2 in pixels of the picture, left before right and top before bottom."""

    label: str
    corners: Corners


def find(text: str, kind: str, size: tuple[int, int], grid: tuple[int, int] | None = None) -> list[Box]:
    """The boxes in `text`, an answer of a model of `kind` (its model_type) about a picture of `size` (width, height).

    grid: (height, width) in patches of the picture as the model saw it; only qwen2_5_vl needs it. An empty list where
    there is no box, where there are more than MAX_BOXES, and for every other kind.
    """
    if kind == "qwen2_vl":
        written, scale = _in_text(text), THOUSANDTHS
    elif kind == "qwen2_5_vl" and grid:
        written, scale = _in_json(text), (grid[1] * PATCH, grid[0] * PATCH)
    else:
        return []
    valid = ((label, tuple(numbers)) for label, numbers in written if _is_inside(numbers, scale))
    said = dict.fromkeys(valid)  # a model at a loss says the same again
    return [Box(label, _pixels(n, scale, size)) for label, n in said] if len(said) <= MAX_BOXES else []


def _in_text(text: str) -> Iterator[tuple[str, list[float]]]:
    """Labels and corners. A box without words before it is one more of the thing that the last one was."""
    text = _BOX_TOKENS.sub("", text)
    label, end = "", 0
    for match in _BOX.finditer(text):
        label = _label(text[end : match.start()]) or label
        end = match.end()
        yield label, [int(number) for number in match.groups()]


def _label(before: str) -> str:
    """What the words before a box call it: what the tokens enclose, else the line that the box is in."""
    if _REF_START in before:
        before = before.rpartition(_REF_START)[2].partition(_REF_END)[0]
    return _short(before.strip(_AROUND_LABEL).rpartition("\n")[2].strip(_AROUND_LABEL))


def _short(label: str) -> str:
    """The end of a long one: what is meant stands right before its box."""
    return label if len(label) <= MAX_LABEL else f"…{label[-MAX_LABEL:]}"


def _in_json(text: str) -> Iterator[tuple[str, list[float]]]:
    """Object by object, because the list around them may be cut off where the answer ended."""
    for match in _OBJECT.finditer(text):
        try:
            found = json.loads(match[0])
        except (ValueError, RecursionError):
            continue
        numbers, label = found.get("bbox_2d"), found.get("label", "")
        if isinstance(numbers, list) and isinstance(label, str):
            yield _short(label.strip()), numbers


def _is_inside(numbers: list, scale: tuple[int, int]) -> bool:
    """Four numbers, first corner before second, nothing outside."""
    if len(numbers) != 4 or not all(type(number) in (int, float) for number in numbers):
        return False
    (x1, y1, x2, y2), (width, height) = numbers, scale
    return 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height  # never true of NaN


def _pixels(numbers: list[float], scale: tuple[int, int], size: tuple[int, int]) -> Corners:
    """In the picture of `size`, at least a pixel wide and high."""
    x1, y1, x2, y2 = (n * side / full for n, side, full in zip(numbers, size * 2, scale * 2, strict=True))
    return math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2)


# ---- drawing --------------------------------------------------------------------------------------------------------


def draw(image: Image.Image, boxes: list[Box]) -> Image.Image:
    """A copy of `image`, its longer side within SIDES, with `boxes` on it; the same label has the same colour."""
    factor = min(max(max(image.size), SIDES[0]), SIDES[1]) / max(image.size)
    size = tuple(max(1, round(side * factor)) for side in image.size)
    drawn = image.convert("RGB").resize(size)
    pen = ImageDraw.Draw(drawn)
    places = [_pixels(box.corners, image.size, size) for box in boxes]
    labels = list(dict.fromkeys(box.label for box in boxes))
    colours = [PALETTE[labels.index(box.label) % len(PALETTE)] for box in boxes]
    for place, colour in zip(places, colours, strict=True):
        _draw_frame(pen, place, colour, max(size) // 240)
    taken: list[Corners] = []
    for number, box in enumerate(boxes, 1):  # after all frames: no frame crosses a label
        text, font = _writable(" ".join(box.label.split()), number, max(size) // 34)
        if text := _fitting(text, font, size[0]):
            taken.append(_draw_label(pen, text, places[number - 1], colours[number - 1], font, taken))
    return drawn


def _writable(label: str, number: int, height: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """`label` with a font that has its characters, or else `number`."""
    fonts = (_font(name, height) for name in ("", *FONTS))
    font = next((font for font in fonts if font and _has(font, label)), None)
    return (label, font) if font else (str(number), _font("", height))


@functools.cache
def _font(name: str, height: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, height) if name else ImageFont.load_default(height)
    except OSError:
        return None


def _has(font: ImageFont.FreeTypeFont, text: str) -> bool:
    missing = bytes(font.getmask("\U0010fffe"))  # a code point that no character ever gets
    return all(bytes(font.getmask(character)) != missing for character in set(text))


def _draw_frame(pen: ImageDraw.ImageDraw, corners: Corners, colour: str, width: int) -> None:
    """Inwards from the edge: black, colour, white. One of them stands out against any background."""
    for inset, line, thickness in ((0, "black", width), (width, colour, 2 * width), (3 * width, "white", width)):
        x1, y1, x2, y2 = corners[0] + inset, corners[1] + inset, corners[2] - 1 - inset, corners[3] - 1 - inset
        if x1 <= x2 and y1 <= y2:
            pen.rectangle((x1, y1, x2, y2), outline=line, width=thickness)


def _fitting(label: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """As much of `label` as goes into `width`, on one line."""
    if font.getlength(label) + PADDING * font.size <= width:
        return label
    while label and font.getlength(f"{label}…") + PADDING * font.size > width:
        label = label[:-1]
    return label and f"{label}…"


def _draw_label(pen, label: str, corners: Corners, colour: str, font, taken: list[Corners]) -> Corners:
    """On a ground of its own, at a corner of the box where no other label is; where it stands."""
    width, height = math.ceil(font.getlength(label) + PADDING * font.size), math.ceil(font.size * 1.5)
    x1, y1, x2, y2 = corners
    wanted = [(x, y) for x in (x1, x2 - width) for y in (y1 - height, y1, y2, y2 - height)]
    places = [_moved_inside((x, y, x + width, y + height), pen.im.size) for x, y in wanted]
    place = next((p for p in places if not any(_overlap(p, other) for other in taken)), places[0])
    ink = "white" if colour == DARK else "black"
    pen.rectangle((place[0], place[1], place[2] - 1, place[3] - 1), fill=colour, outline=ink)
    pen.text((place[0] + width / 2, place[1] + height / 2), label, fill=ink, font=font, anchor="mm")
    return place


def _moved_inside(place: Corners, size: tuple[int, int]) -> Corners:
    x = max(0, min(place[0], size[0] - (place[2] - place[0])))
    y = max(0, min(place[1], size[1] - (place[3] - place[1])))
    return x, y, x + place[2] - place[0], y + place[3] - place[1]


def _overlap(one: Corners, other: Corners) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
