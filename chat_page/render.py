"""The conversation as Gradio's Chatbot takes it.

Here: questions as HTML in which nothing is markup, answers and pictures as HTML of ours, notes. Not here: Markdown
(`chat_page.markdown`), drawing boxes (`chat_page.draw_boxes`), how a picture is opened (`page.js`).

Pictures are ours because Gradio's own stand one below the other, each in a bubble, and open no larger.
"""

import html
import re
from pathlib import Path
from urllib.parse import quote

from chat_page.markdown import as_html
from chat_page.previews import previews_of
from session.prompt import content_parts

CONTINUE = '<button type="button" class="continue">Continue</button>'  # `answers.js` presses the page's for it


def render_history(history: list[dict]) -> list[dict]:
    """One entry for each message of a conversation (see `chat_page.messages`), so that the Chatbot numbers them as we
    do.
    """
    content_of = {"user": _question, "assistant": _answer}
    rendered = [{"role": message["role"], "content": content_of[message["role"]](message)} for message in history]
    if history and history[-1].get("cut"):
        rendered[-1]["content"][-1]["text"] += CONTINUE
    return rendered


def files_shown(history: list[dict]) -> set[str]:
    """Paths of all that `render_history` shows."""
    boxed = {message["boxed"] for message in history if message.get("boxed")}
    parts = [part for message in history for part in content_parts(message) if part["type"] != "text"]
    paths = {part[part["type"]] for part in parts}
    return boxed | paths | {preview for part in parts for _, preview in previews_of(part)}


def _question(message: dict) -> list[dict]:
    """Its pictures, and below them its text: alone, because it is what the Chatbot's field for editing shows."""
    parts = content_parts(message)
    media = [part for part in parts if part["type"] != "text"]
    texts = [escape(part["text"]) for part in parts if part["type"] == "text"]
    shown = [_medium(part, number, len(media)) for number, part in enumerate(media, 1)]
    grid = [_text(f'<div class="media">{"".join(shown)}</div>')] if shown else []
    return grid + ([_text("\n".join(texts))] if texts or not shown else [])


def _medium(part: dict, number: int, total: int) -> str:
    """A button with the picture or the video in it; several are numbered, as the model counts them."""
    kind, name = part["type"], {"image": "Picture", "video": "Video", "document": "Document"}[part["type"]]
    label = f"{name} {number} of {total}" if total > 1 else name
    badge = f"<span>{number}</span>" if total > 1 else ""
    if kind == "image":
        return _picture(part["image"], label, badge)
    previews = previews_of(part)
    seen = "".join(f'<img src="{_url(path)}" alt="{name}" loading="lazy" hidden>' for name, path in previews)
    if kind == "document":
        first = seen.replace(" hidden", "", 1)
        read = f", pages read: {previews[-1][0].removeprefix('Page ')}" if previews else ""
        return _button(f"{first}{badge}<small>{html.escape(Path(part[kind]).name)}{read}</small>", label, "document")
    shown = f'<video src="{_url(part["video"])}" preload="metadata" muted playsinline></video>'
    return _button(f"{shown}<i>▶</i>{badge}{seen}", label)


def _picture(path: str, label: str, badge: str = "") -> str:
    return _button(f'<img src="{_url(path)}" alt="{label}">{badge}', label)


def _button(inside: str, label: str, kind: str = "") -> str:
    return f'<button type="button" class="picture {kind}" title="{label}">{inside}</button>'


def _url(path: str) -> str:
    """Where Gradio serves the file, from the page's own address."""
    return f"gradio_api/file={quote(path)}"


def _answer(message: dict) -> list[dict]:
    """Its text, the picture with boxes where some were drawn, and the line below."""
    text = message["content"]
    source = html.escape(text).replace("\r", "&#13;")  # HTML takes other line ends for its own
    growing = " unfinished" if message.get("unfinished") else ""
    answer = f'<div class="answer{growing}" data-source="{source}">{as_html(text)}</div>'
    boxed = _picture(message["boxed"], "The picture with boxes drawn on it") if message.get("boxed") else ""
    return [_text(f"{answer}{boxed}{_note(message.get('note', ''))}")]


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
    string: "Is 1 < 2 in R&D?" stays as it is, "<b>" becomes "&lt;b>". `html.unescape` undoes it.
    """
    if html.unescape(text) != text:
        text = text.replace("&", "&amp;")
    return re.sub("<(?=[A-Za-z/!?])", "&lt;", text)
