"""Between the input box and the conversation.

Here: the value of the input box as the content of a message, and back; which files may be used. Not here: opening files
(`session.media`), what is on the page (`chat_page.render`).

A value of the input box is {"text": str, "files": [path], "pages": str}: the pages of its documents as they are typed,
"1-3, 7", and "" for the first ones. A conversation is a list of messages as ChatSession takes them. Answers have more
entries, which only the page uses: "note", the quiet line, and behind it lines for its tooltip; "boxed", a picture with
boxes drawn on it; "unfinished", while an answer grows; "cut", whether it hit its length.
"""

from pathlib import Path

import gradio as gr

from adapters.gradio_internals import get_mimetype, get_upload_folder
from chat_session import SessionError
from session.documents import MAX_PAGES
from session.media import kind_of
from session.prompt import content_parts
from session.video_sampling import MAX_ASKED_FRAMES

MAX_FILES = 8  # in one message
UNREADABLE = "{} is not a picture, a video or a document that can be opened. Try a JPEG, a PNG, an MP4 or a PDF."
NO_PAGES = f"{{!r}} are no pages that can be read: write at most {MAX_PAGES}, for example 3, 5-7."
STOPPED = "Stopped."  # below an answer that is not all


def content_of_input(value: dict) -> list[dict]:
    """Content parts, pictures and videos first, as the model was trained. Raises SessionError."""
    if len(value["files"]) > MAX_FILES:
        raise SessionError(f"A message can have {MAX_FILES} files; this one has {len(value['files'])}.")
    content = [_media_part(path, value.get("pages", "")) for path in value["files"]]
    if value["text"].strip():
        content.append({"type": "text", "text": value["text"]})
    return content


def input_of_question(history: list[dict], index: int) -> dict:
    """The value of the input box that led to message `index`. Raises gr.Error where that is no question."""
    if not 0 <= index < len(history) or history[index]["role"] != "user":
        raise gr.Error("This question is not in the conversation any more.", print_exception=False)
    parts = content_parts(history[index])
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    pages = next((part["pages"] for part in parts if "pages" in part), [])
    files = [part[part["type"]] for part in parts if part["type"] != "text"]
    return {"text": text, "files": files, "pages": ", ".join(map(str, pages))}


def options_of(part: dict) -> dict:
    """What a part says beside its file, as far as that is possible: {"pages": [3, 5]} of a document, {"max_frames": 64}
    of a video.
    """
    match part:
        case {"type": "document", "pages": [_, *_] as pages} if len(pages) <= MAX_PAGES and all(map(_is_page, pages)):
            return {"pages": pages}
        case {"type": "video", "max_frames": int(frames)} if 1 <= frames <= MAX_ASKED_FRAMES:
            return {"max_frames": frames}
    return {}


def is_empty(value: dict) -> bool:
    """Whether nothing is in the input box."""
    return not (value["text"].strip() or value["files"])


def joined(first: dict, second: dict) -> dict:
    """The input box with all that is in two, once: `second` may be `first` as it was when it was being typed."""
    texts = [first["text"]] if first["text"].startswith(second["text"]) else [first["text"], second["text"]]
    files = list(dict.fromkeys([*first["files"], *second["files"]]))
    return {"text": "\n".join(filter(None, texts)), "files": files, "pages": first["pages"] or second["pages"]}


def empty_input() -> dict:
    """What is in an input box in which nothing is: Gradio's own None makes its field fail when it is typed into."""
    return {"text": "", "files": [], "pages": ""}


def value_of_input(box: dict | None, pages: str) -> dict:
    """Of Gradio's box, which knows text and files only, and the field for pages."""
    return {**(box or empty_input()), "pages": pages}


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


def _media_part(path: str, pages: str) -> dict:
    # Gradio checks this too, but only for pages that it launched itself.
    if not Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        raise SessionError("Only files that were uploaded to this page can be used.")
    by_name = "video" if (get_mimetype(path) or "").startswith("video/") else "image"
    kind = kind_of(path) or by_name  # what is neither is refused when it is opened: as what it is called
    return {"type": kind, kind: path} | ({"pages": _pages(pages)} if kind == "document" and pages.strip() else {})


def _pages(typed: str) -> list[int]:
    """"1-3, 7" as [1, 2, 3, 7]. Raises SessionError."""
    pages = []
    try:
        for piece in typed.replace("–", "-").split(","):
            first, _, last = piece.partition("-")
            pages += range(int(first), int(last or first) + 1)[: MAX_PAGES + 1]
    except ValueError:
        pages = []
    if options_of({"type": "document", "pages": pages}):
        return pages
    raise SessionError(NO_PAGES.format(typed))


def _is_page(page) -> bool:
    return type(page) is int and 0 < page < 10**6
