"""The conversation as Gradio's Chatbot takes it.

Here: questions as HTML in which nothing is markup, answers as HTML of ours, pictures, videos, notes. Not here: Markdown
(`chat_page.markdown`), drawing boxes (`chat_page.draw_boxes`).
"""

import html
import re

from chat_page.markdown import as_html
from session.prompt import content_parts

CONTINUE = '<button type="button" class="continue">Continue</button>'  # `answers.js` presses the page's for it


def render_history(history: list[dict]) -> list[dict]:
    """One entry for each message of a conversation (see `chat_page.messages`), so that the Chatbot numbers them as we
    do.
    """
    rendered = [{"role": message["role"], "content": _content(message)} for message in history]
    if history and history[-1].get("cut"):
        rendered[-1]["content"][-1]["text"] += CONTINUE
    return rendered


def _content(message: dict) -> list[dict]:
    if message["role"] == "assistant":
        return _answer(message)
    return [_question_part(part) for part in content_parts(message)]


def _question_part(part: dict) -> dict:
    if part["type"] == "text":
        return _text(escape(part["text"]))
    return {"path": part[part["type"]]}


def _answer(message: dict) -> list[dict]:
    """Its text and the line below it; between them, where boxes were drawn, the picture with them."""
    text = message["content"]
    source = html.escape(text).replace("\r", "&#13;")  # HTML takes other line ends for its own
    answer = f'<div class="answer" data-source="{source}">{as_html(text)}</div>'
    note = _note(message.get("note", ""))
    if not message.get("boxed"):
        return [_text(answer + note)]
    picture = {"path": message["boxed"], "alt_text": "The picture with boxes drawn on it"}
    return [_text(answer), picture, _text(f'<div data-source="{source}">{note}</div>')]


def _note(note: str) -> str:
    """The first line of `note`, with the others in its tooltip."""
    line, _, more = note.partition("\n")
    return f'<small title="{html.escape(more)}">{html.escape(line)}</small>' if line else ""


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
