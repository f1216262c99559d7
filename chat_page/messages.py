"""Between the input box and the conversation.

Here: what the box holds as blocks of a message, and back; which files may be used. Not here: opening files
(`session.media`), what is shown (`chat_page.render`).

A conversation is a list of messages as ChatSession takes them. Answers have more entries, which only the page uses:
"note", the quiet line; "boxed", a picture with boxes drawn on it; "unfinished", while an answer grows.
"""

from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder
from gradio_client.utils import get_mimetype

from chat_session import SessionError
from session.prompt import content_parts

MAX_FILES = 8  # in one message


def as_blocks(message: dict | None) -> list[dict]:
    """Pictures and videos first, as the model was trained. Raises SessionError."""
    if message is None:
        return []
    if len(message["files"]) > MAX_FILES:
        raise SessionError(f"A message can have {MAX_FILES} files; this one has {len(message['files'])}.")
    content = [_medium(path) for path in message["files"]]
    if message["text"].strip():
        content.append({"type": "text", "text": message["text"]})
    return content


def question(history: list[dict], index: int) -> dict:
    """What the input box would hold for message `index`. Raises gr.Error where that is no question."""
    if not 0 <= index < len(history) or history[index]["role"] != "user":
        raise gr.Error("This question is not in the conversation any more.", print_exception=False)
    parts = content_parts(history[index])
    text = "\n".join(block["text"] for block in parts if block["type"] == "text")
    return {"text": text, "files": [block[block["type"]] for block in parts if block["type"] != "text"]}


def _medium(path: str) -> dict:
    # Gradio checks this too, but only for pages that it launched itself.
    if not Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        raise SessionError("Only files that were uploaded to this page can be used.")
    kind = "video" if (get_mimetype(path) or "").startswith("video/") else "image"
    return {"type": kind, kind: path}
