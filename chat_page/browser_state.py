"""The text of a conversation, stored in the visitor's browser for when the page or the server starts anew.

Here: what is stored, and what of it is believed. Not here: a conversation saved as a file
(`chat_page.conversation_file`).

What comes back is a stranger's text: it becomes messages of a visitor and answers to them, never more. Pictures and
videos are not stored: a sentence stands where they were.
"""

from session.prompt import MAX_CHARACTERS, content_parts

MAX_MESSAGES = 100
MAX_ANSWER = 20_000  # characters: more than the longest answer that can be asked for
SERVER_RESTARTED = "The server was restarted."
PAGE_RELOADED = "The page was loaded again."
GONE = {
    "image": "[a picture that is gone]", "video": "[a video that is gone]", "document": "[a document that is gone]",
}  # fmt: skip


def to_store(server_id: str, history: list[dict]) -> dict:
    """For gr.BrowserState: the latest messages, and which server they were written on.

    {"server": "1f0c…", "messages": [["user", "[a picture that is gone]\\nWhat is this?"], ["assistant", "A cat."]]}
    """
    messages = [[message["role"], _text(message)] for message in history[-MAX_MESSAGES:]]
    return {"server": server_id, "messages": messages}


def restored(server_id: str, history: list[dict], stored) -> tuple[list[dict], str]:
    """(the conversation, a notice to the visitor): the server's `history`, or else what the browser `stored` of it.

    A page that is open does not notice that its server was restarted; but then the server knows nothing of it, so
    whoever is handed a conversation by the page asks here first.
    """
    if history:
        return history, ""
    messages = stored.get("messages") if isinstance(stored, dict) else None
    if not _is_conversation(messages):
        return [], ""
    history = [{"role": role, "content": text} for role, text in messages]
    if history[0]["role"] == "assistant":  # its question was cut off
        history = history[1:]
    return history, _notice(stored.get("server") == server_id, history)


def _text(message: dict) -> str:
    parts = content_parts(message)
    return "\n".join(part["text"] if part["type"] == "text" else GONE[part["type"]] for part in parts)


def _is_conversation(messages) -> bool:
    return isinstance(messages, list) and 0 < len(messages) <= MAX_MESSAGES and all(map(_is_message, messages))


def _is_message(message) -> bool:
    if not isinstance(message, list) or len(message) != 2 or not all(isinstance(entry, str) for entry in message):
        return False
    role, text = message
    if role == "user":
        return len(text) <= MAX_CHARACTERS
    return role == "assistant" and len(text) <= MAX_ANSWER


def _notice(same_server: bool, history: list[dict]) -> str:
    """One or two sentences: why the page is new, and which files must be given again."""
    questions = [message["content"] for message in history if message["role"] == "user"]
    with_files = [number for number, text in enumerate(questions, 1) if any(gone in text for gone in GONE.values())]
    reason = PAGE_RELOADED if same_server else SERVER_RESTARTED
    notice = f"{reason} The text of your conversation is still here."
    if not with_files:
        return notice
    which = f"{'question' if len(with_files) == 1 else 'questions'} {_list(with_files)}"
    return f"{notice} Its pictures and videos are gone. Add them again where you need them: {which}."


def _list(numbers: list[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last
