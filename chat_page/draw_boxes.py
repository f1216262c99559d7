"""The picture that an answer is about, with the boxes of the answer drawn on it.

Here: which picture. Not here: where the boxes are (`session.boxes`), drawing them (`figures.boxes`), how the picture
gets on the page (`chat_page.render`).
"""

import logging
import re

from PIL import Image

from adapters.gradio_internals import get_upload_folder, save_pil_to_cache
from adapters.qwen_vl import family_of
from figures.boxes import draw_boxes
from session.boxes import JSON_PIXELS, TEXT_THOUSANDTHS, parse_boxes
from session.media import load_image
from session.prompt import content_parts
from session.vision_inputs import MediaProcessor

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
# "the second picture", "the last one", "picture 2"
WHICH = re.compile(
    rf"\b({'|'.join(ORDINALS)}|last)\s+(?:picture|image|photo|one)\b|\b(?:picture|image|photo)\s+([1-8])\b",
    re.IGNORECASE,
)

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
