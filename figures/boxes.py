"""A picture with boxes on it, each with its label, so that a person can see and read them on any picture.

Here: frames, dots, labels. Not here: where the boxes are (`session.boxes`), one box without a label
(`figures.pictures`).
"""

import functools
import math

from PIL import Image, ImageDraw, ImageFont

from session.boxes import Box, Corners, rescaled

MIN_SIDE, MAX_SIDE = 480, 1280  # the longer side of the drawn picture: labels can be read, and files stay small
PADDING = 0.6  # of a label, by its font's height
# Okabe and Ito's colours, told apart with any kind of colour blindness. https://jfly.uni-koeln.de/color/
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
DARK = "#0072B2"  # of these the one on which white is read better than black
# Pillow's own font has no more than ASCII; these are what systems have. What none of them can write gets a number.
FONTS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial.ttf", "msyh.ttc", "PingFang.ttc")
NO_CHARACTER = "\U0010fffe"  # a code point that no character ever gets


def draw_boxes(image: Image.Image, boxes: list[Box]) -> Image.Image:
    """A copy of `image` with `boxes` on it, its longer side from MIN_SIDE to MAX_SIDE; boxes with the same label have
    the same colour.
    """
    longer_side = min(max(max(image.size), MIN_SIDE), MAX_SIDE)
    factor = longer_side / max(image.size)
    size = tuple(max(1, round(side * factor)) for side in image.size)
    drawn = image.convert("RGB").resize(size)
    pen = ImageDraw.Draw(drawn)
    frames = [rescaled(box.corners, image.size, size) for box in boxes]
    labels = list(dict.fromkeys(box.label for box in boxes))
    colours = [PALETTE[labels.index(box.label) % len(PALETTE)] for box in boxes]
    for box, frame, colour in zip(boxes, frames, colours, strict=True):
        (_draw_dot if box.is_point else _draw_frame)(pen, frame, colour, max(size) // 240)
    label_areas: list[Corners] = []
    for number, box in enumerate(boxes, 1):  # after all frames: no frame crosses a label
        text, font = _text_and_font(" ".join(box.label.split()), number, max(size) // 34)
        text = _cut_to_width(text, font, size[0])
        if text:
            area = _draw_label(pen, text, frames[number - 1], colours[number - 1], font, label_areas)
            label_areas.append(area)
    return drawn


def _draw_frame(pen: ImageDraw.ImageDraw, corners: Corners, colour: str, width: int) -> None:
    """Inwards from the edge: black, colour, white. One of them stands out against any background."""
    for inset, line, thickness in ((0, "black", width), (width, colour, 2 * width), (3 * width, "white", width)):
        x1, y1 = corners[0] + inset, corners[1] + inset
        x2, y2 = corners[2] - 1 - inset, corners[3] - 1 - inset
        if x1 <= x2 and y1 <= y2:
            pen.rectangle((x1, y1, x2, y2), outline=line, width=thickness)


def _draw_dot(pen: ImageDraw.ImageDraw, corners: Corners, colour: str, width: int) -> None:
    """Around the middle: white, colour, black."""
    x, y = (corners[0] + corners[2]) / 2, (corners[1] + corners[3]) / 2
    for radius, fill in ((5 * width, "white"), (4 * width, colour), (1.5 * width, "black")):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


# ---- labels ---------------------------------------------------------------------------------------------------------


def _text_and_font(label: str, number: int, height: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """`label` and a font that has its characters; where there is none, `number` and Pillow's own font."""
    for name in ("", *FONTS):
        font = _font(name, height)
        if font and _has_all(font, label):
            return label, font
    return str(number), _font("", height)


@functools.cache
def _font(name: str, height: int) -> ImageFont.FreeTypeFont | None:
    """The system's font `name`, None where it has no such font; "" for Pillow's own."""
    try:
        return ImageFont.truetype(name, height) if name else ImageFont.load_default(height)
    except OSError:
        return None


def _has_all(font: ImageFont.FreeTypeFont, text: str) -> bool:
    missing = bytes(font.getmask(NO_CHARACTER))
    return all(bytes(font.getmask(character)) != missing for character in set(text))


def _cut_to_width(label: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """As much of `label` as goes into `width`, on one line."""
    if _width(label, font) <= width:
        return label
    while label and _width(f"{label}…", font) > width:
        label = label[:-1]
    return f"{label}…" if label else ""


def _width(label: str, font: ImageFont.FreeTypeFont) -> float:
    return font.getlength(label) + PADDING * font.size


def _draw_label(pen, label: str, frame: Corners, colour: str, font, label_areas: list[Corners]) -> Corners:
    """On a ground of its own, at a corner of the frame where no other label is; returns its area."""
    width, height = math.ceil(_width(label, font)), math.ceil(font.size * 1.5)
    x1, y1, x2, y2 = frame
    corners = [(x, y) for x in (x1, x2 - width) for y in (y1 - height, y1, y2, y2 - height)]
    areas = [_moved_inside((x, y, x + width, y + height), pen.im.size) for x, y in corners]
    free = (area for area in areas if not any(_overlap(area, other) for other in label_areas))
    area = next(free, areas[0])
    ink = "white" if colour == DARK else "black"
    pen.rectangle((area[0], area[1], area[2] - 1, area[3] - 1), fill=colour, outline=ink)
    pen.text((area[0] + width / 2, area[1] + height / 2), label, fill=ink, font=font, anchor="mm")
    return area


def _moved_inside(area: Corners, size: tuple[int, int]) -> Corners:
    width, height = area[2] - area[0], area[3] - area[1]
    x = max(0, min(area[0], size[0] - width))
    y = max(0, min(area[1], size[1] - height))
    return x, y, x + width, y + height


def _overlap(one: Corners, other: Corners) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
