"""The conversation as Gradio's Chatbot takes it.

Here: texts as HTML in which nothing is markup, pictures, videos, notes. Not here: drawing boxes
(`chat_page.draw_boxes`).
"""

import html
import re

from session.prompt import content_parts


def render_history(history: list[dict]) -> list[dict]:
    """One entry for each message of a conversation (see `chat_page.messages`), so that the Chatbot numbers them as we
    do.
    """
    return [{"role": message["role"], "content": _content(message)} for message in history]


def _content(message: dict) -> list[dict]:
    if message["role"] == "assistant":
        return _answer(message)
    return [_question_part(part) for part in content_parts(message)]


def _question_part(part: dict) -> dict:
    if part["type"] == "text":
        return _text(escape(part["text"]))
    return {"path": part[part["type"]]}


def _answer(message: dict) -> list[dict]:
    text = f"<span>{escape(message['content'])}</span>"
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


def escape(text: str) -> str:
    """`text` as HTML that shows it and does nothing else; the Chatbot takes it for HTML even without Markdown.

    Only what HTML would read as markup is escaped, because the Chatbot's field for editing a message shows this very
    string: "Is 1 < 2 in R&D?" stays as it is, "<b>" becomes "&lt;b>".
    """
    if html.unescape(text) != text:
        text = text.replace("&", "&amp;")
    return re.sub("<(?=[A-Za-z/!?])", "&lt;", text)


def unescape(markup: str) -> str:
    """`escape` undone: the text that a visitor sees in a message that was edited."""
    return html.unescape(markup)
