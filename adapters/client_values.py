"""What a client hands to a component of a page, before Gradio does anything with it: a stranger may send any JSON.

`checked(component, value)` is called for each input of each handler. Gradio 6.31 by itself fetches what a dictionary
with a "path" names by URL, wherever in a value it stands, makes text of whatever a text field gets, and looks at a
field's `max_length` in the browser only.

Here: values that no page of ours sends. Not here: whether a file was uploaded (Gradio), what a message may hold
(`chat_page.messages`). Noticed by tests/security/test_values.py.
"""

import math
import re

import gradio as gr

MAX_DEPTH = 16  # of lists and dictionaries inside each other
MAX_ENTRIES = 20_000  # of all of them; a browser stores two hundred messages
ADDRESS = re.compile(r"\s*[a-zA-Z][a-zA-Z0-9+.-]+:")  # a scheme has two letters at least: "C:" is a disk
UPLOADED_ONLY = "Only files that were uploaded to this page can be used."
MESSAGE = 'A message is {"text": "…", "files": […]}, its files from an upload or from gradio_client.handle_file.'


def checked(component: gr.components.Component, value):
    """The value that Gradio gets instead of `value`: None becomes what the page shows at first. Raises gr.Error."""
    _check_files(value)
    match component:
        case gr.MultimodalTextbox():
            return _message(value)
        case gr.Textbox():
            return _text(component, value)
        case gr.Number() | gr.Slider():
            return _number(component, value)
    return value


def _message(value):
    """A dictionary with these two entries and no others."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _error(MESSAGE)
    text, files = value.get("text") or "", value.get("files") or []
    are_files = isinstance(files, list) and all(isinstance(file, dict) and "path" in file for file in files)
    if not isinstance(text, str) or not are_files:
        raise _error(MESSAGE)
    return {"text": text, "files": files}


def _text(component: gr.Textbox, value) -> str:
    if value is None:
        return component.value or ""
    if not isinstance(value, str):
        raise _error(f"{component.label}: this must be text.")
    if component.max_length and len(value) > component.max_length:
        raise _error(f"{component.label}: {len(value)} characters; at most {component.max_length}.")
    return value


def _number(component: gr.Number | gr.Slider, value) -> float:
    if value is None:
        return component.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _error(f"{component.label}: this must be a number.")
    return value


def _check_files(value) -> None:
    """Raises gr.Error where a dictionary in `value`, at any depth, names a file in another way than by its path here;
    or where there is more to look through than a page of ours sends.
    """
    level, entries = [value], 0
    for _ in range(MAX_DEPTH):
        containers = [item for item in level if isinstance(item, dict | list)]
        for item in containers:
            if isinstance(item, dict) and "path" in item and not _is_path(item["path"]):
                raise _error(UPLOADED_ONLY)
        level = [entry for item in containers for entry in (item.values() if isinstance(item, dict) else item)]
        entries += len(level)
        if not level:
            return
        if entries > MAX_ENTRIES:
            break
    raise _error("This request holds more than a page sends.")


def _is_path(path) -> bool:
    return isinstance(path, str) and not ADDRESS.match(path)


def _error(message: str) -> gr.Error:
    return gr.Error(message, print_exception=False)
