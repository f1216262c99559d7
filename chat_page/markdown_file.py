"""A conversation as a Markdown file, for reading and pasting elsewhere: its words, and where pictures were.

Here: the file. Not here: one that can be opened again, with pictures (`chat_page.conversation_file`).
"""

from datetime import datetime
from pathlib import Path

from adapters.gradio_internals import get_upload_folder, save_bytes_to_cache
from chat_page.conversation_file import NOTHING_YET
from session.prompt import SessionError, content_parts


def save_as_markdown(history: list[dict]) -> Path:
    """A .md in the folder whose files Gradio serves. Raises SessionError for an empty conversation."""
    if not history:
        raise SessionError(NOTHING_YET)
    now = datetime.now()
    text = "\n".join([f"# Conversation of {now:%Y-%m-%d, %H:%M}\n", *map(_section, history)])
    return Path(save_bytes_to_cache(text.encode(), f"conversation-{now:%Y-%m-%d-%H%M}.md", get_upload_folder()))


def _section(message: dict) -> str:
    """An answer is Markdown as it is; a question is what was typed, quoted."""
    if message["role"] == "assistant":
        return f"**Answer**\n\n{message['content']}\n"
    lines = []
    for number, part in enumerate(content_parts(message), 1):
        if part["type"] == "text":
            lines += part["text"].splitlines()
        else:
            lines.append(f"*({part['type']} {number}: {Path(part[part['type']]).name})*")
    return "**Question**\n\n" + "\n".join(f"> {line}".rstrip() for line in lines) + "\n"
