"""A conversation, stored in the visitor's browser for when the page or the server starts anew.

Here: what is stored, and what of it is believed. Not here: a conversation saved as a file
(`chat_page.conversation_file`).

What comes back is a stranger's text: it becomes messages of a visitor and answers to them, never more. Pictures and
videos stay on the server for a day. Stored are their names in the upload folder, signed, so that nobody can name a file
that the page did not show; where one is gone, or another server signed it, a sentence stands in its place. The tab's
name as a visitor is signed as well: what is cached for it goes on serving it, and nobody can make up another's.
"""

import hmac
import secrets
from pathlib import Path

from adapters.gradio_internals import get_upload_folder
from chat_page.messages import MAX_FILES, finished, options_of
from session.prompt import MAX_CHARACTERS, content_parts

MAX_MESSAGES = 100
MAX_ALL_CHARACTERS = 1_000_000  # of all messages: a browser stores a few MB; the oldest are left out
MAX_NOTE = 1000  # characters
SERVER_RESTARTED = "The server was restarted. The text of your conversation is still here."
PAGE_RELOADED = "The page was loaded again."
NOT_OURS = (AttributeError, KeyError, TypeError, ValueError)  # raised by what this page did not store
VISITOR = "visitor "  # before what is signed of one: no file has such a name
GONE = {
    "image": "[a picture that is gone]", "video": "[a video that is gone]", "document": "[a document that is gone]",
}  # fmt: skip


class BrowserStore:
    """What one server stores in browsers, and believes of it when it comes back.

    {"server": "1f0c…", "messages": [{"role": "user", "content": [{"image": "5d41…/cat.png", "signature": "9a0b…"},
    {"text": "What is this?"}]}, {"role": "assistant", "content": "A cat.", "note": "first word 0.4 s"}],
    "visitor": "77b2…", "signature": "c3d9…"}
    """

    def __init__(self):
        self.server_id = secrets.token_hex(8)
        self._key = secrets.token_bytes(32)

    def to_store(self, history: list[dict], visitor: str = "") -> dict:
        """For gr.BrowserState: the latest messages, and `TabState.visitor`. An answer that still grows is stored as
        one that was stopped.
        """
        messages, characters = [], 0
        for message in reversed(finished(history)[-MAX_MESSAGES:]):
            stored = self._stored(message)
            characters += _characters(stored)
            if characters > MAX_ALL_CHARACTERS:
                break
            messages.append(stored)
        signature = self._signature(VISITOR + visitor)
        return {"server": self.server_id, "messages": messages[::-1], "visitor": visitor, "signature": signature}

    def visitor_of(self, stored) -> str:
        """The visitor's name that this server gave to the tab; "" where there is none."""
        try:
            name = stored["visitor"]
            return name if self._has_signed(VISITOR + name, stored["signature"]) else ""
        except NOT_OURS:
            return ""

    def restored(self, history: list[dict], stored) -> tuple[list[dict], str]:
        """(the conversation, a notice to the visitor): the server's `history`, or else what the browser `stored` of it.

        A page that is open does not notice that its server was restarted; but then the server knows nothing of it, so
        whoever is handed a conversation by the page asks here first.
        """
        messages = stored.get("messages") if isinstance(stored, dict) else None
        if history or not isinstance(messages, list) or not 0 < len(messages) <= MAX_MESSAGES:
            return history, ""
        try:
            history = [self._believed(message) for message in messages]
        except NOT_OURS:
            return [], ""
        if sum(map(_characters, history)) > MAX_ALL_CHARACTERS:
            return [], ""
        if history[0]["role"] == "assistant":  # its question was cut off
            history = history[1:]
        return history, _notice(stored.get("server") == self.server_id, history)

    def _stored(self, message: dict) -> dict:
        if message["role"] == "assistant":
            stored = {key: message[key] for key in ("role", "content", "note", "cut") if key in message}
            if "boxed" in message:
                stored["boxed"] = self._signed("image", message["boxed"])
            return stored
        parts = content_parts(message)
        content = [
            {"text": part["text"]} if part["type"] == "text"
            else self._signed(part["type"], part[part["type"]]) | options_of(part)
            for part in parts
        ]  # fmt: skip
        return {"role": "user", "content": content}

    def _believed(self, stored: dict) -> dict:
        """The message that was stored. Raises one of NOT_OURS where it is none."""
        if stored["role"] == "user":
            return _checked_question([self._part(part) for part in stored["content"]])
        text, note = stored["content"], stored.get("note", "")
        if stored["role"] != "assistant" or not isinstance(text, str) or not isinstance(note, str):
            raise ValueError("not an answer")
        answer = {"role": "assistant", "content": text, "note": note[:MAX_NOTE], "cut": stored.get("cut") is True}
        boxed = self._file("image", stored["boxed"]) if "boxed" in stored else None
        return {**answer, "boxed": boxed} if boxed else answer

    def _part(self, stored: dict) -> dict:
        if "text" in stored:
            return {"type": "text", "text": stored["text"]}
        kind = next(kind for kind in GONE if kind in stored or kind == "document")
        path = self._file(kind, stored)
        if not path:
            return {"type": "text", "text": GONE[kind]}
        return {"type": kind, kind: path} | options_of({**stored, "type": kind})

    def _signed(self, kind: str, path: str) -> dict:
        name = Path(path).resolve().relative_to(Path(get_upload_folder()).resolve()).as_posix()
        return {kind: name, "signature": self._signature(name)}

    def _file(self, kind: str, stored: dict) -> str | None:
        """The path of a file that this server signed, None where it is gone."""
        name, signature = stored[kind], stored["signature"]
        if not self._has_signed(name, signature):
            return None
        path = Path(get_upload_folder(), name)
        return str(path) if path.is_file() else None

    def _signature(self, name: str) -> str:
        return hmac.digest(self._key, name.encode(), "sha256").hex()

    def _has_signed(self, name: str, signature: str) -> bool:
        return hmac.compare_digest(self._signature(name).encode(), signature.encode())


def _characters(message: dict) -> int:
    content = message["content"]
    return len(content) if isinstance(content, str) else sum(len(part.get("text", "")) for part in content)


def _checked_question(parts: list[dict]) -> dict:
    """With as much in it as the page takes."""
    texts = [part["text"] for part in parts if part["type"] == "text" and part["text"] not in GONE.values()]
    if not all(isinstance(text, str) for text in texts) or sum(map(len, texts)) > MAX_CHARACTERS:
        raise ValueError("too long")
    if not parts or len(parts) > MAX_FILES + 1:
        raise ValueError("too many parts")
    return {"role": "user", "content": parts}


def _notice(same_server: bool, history: list[dict]) -> str:
    """Why the page is new, and which files must be given again; "" where nothing is lost."""
    questions = [content_parts(message) for message in history if message["role"] == "user"]
    with_gaps = [
        number for number, parts in enumerate(questions, 1) if any(part.get("text") in GONE.values() for part in parts)
    ]
    if not with_gaps:
        return "" if same_server else SERVER_RESTARTED
    which = f"{'question' if len(with_gaps) == 1 else 'questions'} {_list(with_gaps)}"
    reason = PAGE_RELOADED if same_server else SERVER_RESTARTED
    return f"{reason} Pictures and videos of it are gone. Add them again where you need them: {which}."


def _list(numbers: list[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last
