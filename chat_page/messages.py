"""Between the input box and the conversation.

Here: the value of the input box as the content of a message, and back; which files may be used. Not here: opening files
(`session.media`), what is on the page (`chat_page.render`).

A value of the input box is {"text": str, "files": [path]}. A conversation is a list of messages as ChatSession takes
them. Answers have more entries, which only the page uses: "note", the quiet line, and behind it lines for its tooltip;
"boxed", a picture with boxes drawn on it; "unfinished", while an answer grows; "cut", whether it hit its length.
"""

from pathlib import Path

import gradio as gr

from adapters.gradio_internals import get_mimetype, get_upload_folder
from chat_session import SessionError
from session.media import kind_of
from session.prompt import content_parts

MAX_FILES = 8  # in one message
UNREADABLE = "{} is not a picture, a video or a document that can be opened. Try a JPEG, a PNG, an MP4 or a PDF."
STOPPED = "Stopped."  # below an answer that is not all


def content_of_input(value: dict | None) -> list[dict]:
    """Content parts, pictures and videos first, as the model was trained. Raises SessionError."""
    if value is None:
        return []
    if len(value["files"]) > MAX_FILES:
        raise SessionError(f"A message can have {MAX_FILES} files; this one has {len(value['files'])}.")
    content = [_media_part(path) for path in value["files"]]
    if value["text"].strip():
        content.append({"type": "text", "text": value["text"]})
    return content


def input_of_question(history: list[dict], index: int) -> dict:
    """The value of the input box that led to message `index`. Raises gr.Error where that is no question."""
    if not 0 <= index < len(history) or history[index]["role"] != "user":
        raise gr.Error("This question is not in the conversation any more.", print_exception=False)
    parts = content_parts(history[index])
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    return {"text": text, "files": [part[part["type"]] for part in parts if part["type"] != "text"]}


def is_empty(value: dict | None) -> bool:
    """Whether nothing is in the input box."""
    return not value or not (value["text"].strip() or value["files"])


def empty_input() -> dict:
    """What is in an input box in which nothing is: Gradio's own None makes its field fail when it is typed into."""
    return {"text": "", "files": []}


def unusable(value: dict) -> dict[str, str]:
    """The files of the input box that cannot be used, each with a sentence for the visitor who added it."""
    return {path: UNREADABLE.format(Path(path).name) for path in value["files"] if not kind_of(path)}


def finished(history: list[dict]) -> list[dict]:
    """`history` with an answer that still grows as one that was stopped."""
    if not history or not history[-1].get("unfinished"):
        return history
    last = {**history[-1], "note": STOPPED}
    del last["unfinished"]
    return [*history[:-1], last]


def _media_part(path: str) -> dict:
    # Gradio checks this too, but only for pages that it launched itself.
    if not Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        raise SessionError("Only files that were uploaded to this page can be used.")
    by_name = "video" if (get_mimetype(path) or "").startswith("video/") else "image"
    kind = kind_of(path) or by_name  # what is neither is refused when it is opened: as what it is called
    return {"type": kind, kind: path}
