"""The picture that an answer is about, with the boxes of the answer drawn on it.

Here: which picture, and frames and labels that a person can see and read. Not here: where the boxes are
(`session.boxes`), how the picture gets on the page (`chat_page.render`).
"""

import functools
import logging
import math
import re

from PIL import Image, ImageDraw, ImageFont

from adapters.gradio_internals import get_upload_folder, save_pil_to_cache
from adapters.qwen_vl import family_of
from session.boxes import JSON_PIXELS, TEXT_THOUSANDTHS, Box, Corners, parse_boxes, rescaled
from session.media import load_image
from session.prompt import content_parts
from session.vision_inputs import MediaProcessor

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
# "the second picture", "the last one", "picture 2"
WHICH = re.compile(
    rf"\b({'|'.join(ORDINALS)}|last)\s+(?:picture|image|photo|one)\b|\b(?:picture|image|photo)\s+([1-8])\b",
    re.IGNORECASE,
)
MIN_SIDE, MAX_SIDE = 480, 1280  # the longer side of the drawn picture: labels can be read, and files stay small
PADDING = 0.6  # of a label, by its font's height
# Okabe and Ito's colours, told apart with any kind of colour blindness. https://jfly.uni-koeln.de/color/
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
DARK = "#0072B2"  # of these the one on which white is read better than black
# Pillow's own font has no more than ASCII; these are what systems have. What none of them can write gets a number.
FONTS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial.ttf", "msyh.ttc", "PingFang.ttc")
NO_CHARACTER = "\U0010fffe"  # a code point that no character ever gets


logger = logging.getLogger(__name__)


def with_drawn_boxes(answer: dict, asked: list[dict], processor, visual_tokens: int | None) -> dict:
    """`answer` (see `chat_page.messages`), with its boxes drawn on the picture of `asked`, the conversation before it,
    that is meant; just `answer` where there is none, or no box, or where drawing fails.
    """
    try:
        picture = _picture_meant(answer["content"], asked)
        drawn = _drawn(answer["content"], picture, processor, visual_tokens) if picture else None
        if drawn is None:
            return answer
        return {**answer, "boxed": save_pil_to_cache(drawn, get_upload_folder(), name="boxes", format="png")}
    except Exception as error:  # the answer is there, and worth more than its picture
        logger.warning("boxes were not drawn", exc_info=error)
        return answer


def _picture_meant(text: str, asked: list[dict]) -> dict | None:
    """Of the question's pictures, or of all before it where it has none: the only one, or the one that `text`, the
    answer, or else the question names ("the second picture").
    """
    question = content_parts(asked[-1])
    pictures = [part for part in question if part["type"] == "image"]
    pictures = pictures or [part for message in asked for part in content_parts(message) if part["type"] == "image"]
    if len(pictures) < 2:
        return pictures[0] if pictures else None
    for words in (text, " ".join(part["text"] for part in question if part["type"] == "text")):
        named = {_index(match, len(pictures)) for match in WHICH.finditer(words)}
        if named:
            index = named.pop()
            return pictures[index] if not named and index < len(pictures) else None
    return None


def _index(match: re.Match, count: int) -> int:
    word, number = match.groups()
    if number:
        return int(number) - 1
    return count - 1 if word.lower() == "last" else ORDINALS.index(word.lower())


def _drawn(text: str, picture: dict, processor, visual_tokens: int | None) -> Image.Image | None:
    written_as, grid = family_of(processor).box_format, None
    if "_2d" not in text and written_as != TEXT_THOUSANDTHS:
        return None  # nothing is opened for most answers
    image = load_image(picture["image"])
    if written_as == JSON_PIXELS:
        grid = MediaProcessor(processor).process(picture, visual_tokens).grid[1:]
    boxes = parse_boxes(text, written_as, image.size, grid)
    return draw_boxes(image, boxes) if boxes else None


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
