"""A conversation, stored in the visitor's browser for when the page or the server starts anew.

Here: what is stored, and what of it is believed. Not here: the shape of a message (`chat_page.stored_messages`), a
conversation saved as a file (`chat_page.conversation_file`).

What comes back is a stranger's text: it becomes messages of a visitor and answers to them, never more. Pictures and
videos stay on the server for a day. Stored are their names in the upload folder, signed, so that nobody can name a file
that the page did not show; where one is gone, or another server signed it, a sentence stands in its place. The tab's
name as a visitor is signed as well: what is cached for it goes on serving it, and nobody can make up another's.
"""

import hmac
import secrets
from pathlib import Path

from adapters.gradio_internals import get_upload_folder
from chat_page.messages import finished
from chat_page.stored_messages import GONE, MAX_MESSAGES, are_messages, with_files
from session.prompt import content_parts

MAX_ALL_CHARACTERS = 1_000_000  # of all messages: a browser stores a few MB; the oldest are left out
SERVER_RESTARTED = "The server was restarted. The text of your conversation is still here."
VISITOR = "visitor "  # before what is signed of one: no file has such a name


class BrowserStore:
    """What one server stores in browsers, and believes of it when it comes back.

    {"server": "1f0c…", "visitor": "c3d9… visitor 77b2…", "messages": [
        {"role": "user", "content": [{"type": "image", "image": "9a0b… 5d41/cat.png"}, {"type": "text", "text": "…"}]},
        {"role": "assistant", "content": "A cat.", "note": "first word 0.4 s"}]}
    """

    def __init__(self):
        self.server_id = secrets.token_hex(8)
        self._key = secrets.token_bytes(32)

    def to_store(self, history: list[dict], visitor: str = "") -> dict:
        """For gr.BrowserState: the latest questions with their answers, and `TabState.visitor`. An answer that still
        grows is stored as one that was stopped.
        """
        messages, characters = [], 0
        for message in reversed(finished(history)[-MAX_MESSAGES:]):
            stored = with_files(message, self._signed_file)
            characters += _characters(stored)
            if characters > MAX_ALL_CHARACTERS:
                break
            messages.insert(0, stored)
        if messages and messages[0]["role"] == "assistant":  # its question is left out
            del messages[0]
        return {"server": self.server_id, "visitor": self._signed(VISITOR + visitor), "messages": messages}

    def visitor_of(self, stored) -> str:
        """The visitor's name that this server gave to the tab; "" where there is none."""
        match stored:
            case {"visitor": str(signed)} if (name := self._name(signed)).startswith(VISITOR):
                return name.removeprefix(VISITOR)
        return ""

    def restored(self, history: list[dict], stored) -> tuple[list[dict], str]:
        """(the conversation, a notice to the visitor): the server's `history`, or else what the browser `stored` of it.

        A page that is open does not notice that its server was restarted; but then the server knows nothing of it, or
        that its files were deleted after a day. So whoever is handed a conversation by the page asks here first.
        """
        if history:
            there = [with_files(message, _if_there) for message in finished(history)]
            return there, "" if there == history else _notice(True, there)
        match stored:
            case {"messages": [_, *_] as messages} if are_messages(messages):
                if sum(map(_characters, messages)) <= MAX_ALL_CHARACTERS:
                    history = [with_files(message, self._path) for message in messages]
                    return history, _notice(stored.get("server") == self.server_id, history)
        return [], ""

    def _signed_file(self, kind: str, path: str) -> str:
        return self._signed(Path(path).resolve().relative_to(Path(get_upload_folder()).resolve()).as_posix())

    def _path(self, kind: str, signed: str) -> str:
        """Of a file that this server signed; "" where it is gone."""
        return _if_there(kind, str(Path(get_upload_folder(), self._name(signed))))

    def _signed(self, name: str) -> str:
        return f"{hmac.digest(self._key, name.encode(errors='replace'), 'sha256').hex()} {name}"

    def _name(self, signed: str) -> str:
        """What was `signed`, "" where this server did not sign it."""
        name = signed.partition(" ")[2]
        is_ours = hmac.compare_digest(self._signed(name).encode(errors="replace"), signed.encode(errors="replace"))
        return name if is_ours else ""


def _if_there(kind: str, path: str) -> str:
    return path if Path(path).is_file() else ""


def _characters(stored: dict) -> int:
    return len(str(stored))


def _notice(same_server: bool, history: list[dict]) -> str:
    """Why the page is new, and which files must be given again; "" where nothing is lost."""
    questions = [content_parts(message) for message in history if message["role"] == "user"]
    with_gaps = [
        number for number, parts in enumerate(questions, 1) if any(part.get("text") in GONE.values() for part in parts)
    ]
    notice = "" if same_server else SERVER_RESTARTED
    if with_gaps:
        which = f"{'question' if len(with_gaps) == 1 else 'questions'} {_list(with_gaps)}"
        notice += f" Pictures and videos are gone. Add them again where you need them: {which}."
    return notice.strip()


def _list(numbers: list[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last
