"""Messages as they leave the page, for a browser or a file, and what is believed of those that come back.

Here: their shape. Not here: where they go (`chat_page.browser_state`, `chat_page.conversation_file`), which file a name
stands for.

A stored message is one of the conversation (see `chat_page.messages`) with names in place of paths. What comes back is
a stranger's: questions and answers with as much in each as the page takes, never more.
"""

import itertools
import re
from collections.abc import Callable

from chat_page.messages import MAX_FILES, options_of
from session.prompt import MAX_CHARACTERS, content_parts

MAX_MESSAGES = 200
MAX_NOTE = 1000  # characters
ANSWER = {"role": "assistant", "content": "", "note": "", "boxed": "", "cut": False}  # what is stored of one
GONE = {
    "image": "[a picture that is gone]", "video": "[a video that is gone]", "document": "[a document that is gone]",
}  # fmt: skip

_HALF_A_CHARACTER = re.compile(r"[\ud800-\udfff]")  # cannot be shown


def with_files(message: dict, renamed: Callable[[str, str], str]) -> dict:
    """A copy of `message` without what is not to be stored, and with `renamed(kind, file)` for each of its files; where
    that is "", the file is gone.
    """
    if message["role"] == "user":
        return {"role": "user", "content": [_with_file(part, renamed) for part in content_parts(message)]}
    copy = {key: message[key] for key in ANSWER if key in message}
    if "note" in copy:
        copy["note"] = copy["note"][:MAX_NOTE]
    boxed = renamed("image", copy.pop("boxed")) if "boxed" in copy else ""
    return {**copy, "boxed": boxed} if boxed else copy


def are_messages(found: list) -> bool:
    """Whether these are questions and answers in turn, not too many. What their names stand for is not looked at."""
    turns = zip(found, itertools.cycle((_is_question, _is_answer)))
    return len(found) <= MAX_MESSAGES and all(is_one(message) for message, is_one in turns)


def _with_file(part: dict, renamed: Callable[[str, str], str]) -> dict:
    kind = part["type"]
    if kind == "text":
        return {"type": "text", "text": part["text"]}
    name = renamed(kind, part[kind])
    return {"type": kind, kind: name} | options_of(part) if name else {"type": "text", "text": GONE[kind]}


def _is_question(message) -> bool:
    match message:
        case {"role": "user", "content": [_, *_] as parts, **more} if not more and all(map(_is_part, parts)):
            files = [part for part in parts if part["type"] != "text"]
            return len(files) <= MAX_FILES and len(parts) <= MAX_FILES + 1
    return False


def _is_part(part) -> bool:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in ("text", *GONE) or part.keys() != {"type", kind, *options_of(part)}:
        return False
    return _is_text(part[kind]) and len(part[kind]) <= MAX_CHARACTERS


def _is_answer(message) -> bool:
    match message:
        case {"role": "assistant", "content": _} if message.keys() <= ANSWER.keys():
            *texts, cut = {**ANSWER, **message}.values()
            return isinstance(cut, bool) and all(map(_is_text, texts))
    return False


def _is_text(value) -> bool:
    return isinstance(value, str) and not _HALF_A_CHARACTER.search(value)
