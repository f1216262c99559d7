"""The conversation as Gradio's Chatbot takes it.

Here: texts as HTML in which nothing is markup, pictures, videos, notes, and pictures with boxes. Not here: finding and
drawing boxes (`chat_page.boxes`).
"""

import html
import re

from gradio.processing_utils import save_pil_to_cache
from gradio.utils import get_upload_folder

from chat_page.boxes import draw, find
from session.media import load_image
from session.prompt import content_parts
from session.vision_inputs import MediaProcessor


def shown(history: list[dict]) -> list[dict]:
    """One entry for each message, so that the Chatbot's numbers are ours."""
    return [{"role": message["role"], "content": _parts(message)} for message in history]


def _parts(message: dict) -> list:
    if message["role"] == "assistant":
        return _answer(message)
    return [_question(block) for block in content_parts(message)]


def _question(block: dict):
    return _text(_inert(block["text"])) if block["type"] == "text" else {"path": block[block["type"]]}


def _answer(message: dict) -> list:
    text = f"<span>{_inert(message['content'])}</span>"
    note = f"<small>{html.escape(message['note'])}</small>" if message.get("note") else ""
    if not message.get("boxed"):
        return [_text(text + note)]
    return [
        {"path": message["boxed"], "alt_text": "The picture with boxes drawn on it"},
        _text(f"<details><summary>The answer as text</summary>{text}</details>{note}"),
    ]


def _text(markup: str) -> dict:
    """A plain string would lose its indentation."""
    return {"type": "text", "text": markup}


def _inert(text: str) -> str:
    """`text` as HTML that shows it and does nothing else; the Chatbot takes it for HTML even without Markdown.

    Only what HTML would read as markup is escaped: the Chatbot's field for editing a message shows this very string.
    """
    if html.unescape(text) != text:
        text = text.replace("&", "&amp;")
    return re.sub("<(?=[A-Za-z/!?])", "&lt;", text)


def as_typed(edited: str) -> str:
    """The text of an edited message: `_inert` undone."""
    return html.unescape(edited)


def with_boxes(answer: dict, asked: list[dict], processor, visual_tokens: int | None) -> dict:
    """`answer`, with its boxes drawn on the last picture that was asked about, where it has boxes."""
    pictures = [block for message in asked for block in content_parts(message) if block["type"] == "image"]
    if not pictures:
        return answer
    image, kind, grid = load_image(pictures[-1]["image"]), "qwen2_vl", None
    if "second_per_grid_ts" in processor.model_input_names:  # Qwen2.5-VL, which counts in pixels of what it saw
        kind, grid = "qwen2_5_vl", MediaProcessor(processor).process(pictures[-1], visual_tokens).grid[1:]
    found = find(answer["content"], kind, image.size, grid)
    if not found:
        return answer
    return {**answer, "boxed": save_pil_to_cache(draw(image, found), get_upload_folder(), name="boxes", format="png")}
