"""The text of a conversation, kept in the visitor's browser for when the page or the server starts anew.

Here: what is kept, and what of it is believed. Not here: conversations saved as a file (`chat_page.conversation_file`).

What comes back is a stranger's text: it becomes messages of a visitor and answers to them, never more. Files are not
kept: their places are named instead.
"""

from session.prompt import MAX_CHARACTERS, content_parts

MAX_MESSAGES = 100
MAX_ANSWER = 20_000  # characters: more than the longest answer that can be asked for
RESTARTED = "The server was restarted."
LOADED_AGAIN = "The page was loaded again."
GONE = {"image": "[a picture that is gone]", "video": "[a video that is gone]"}


def to_keep(server: str, history: list[dict]) -> dict:
    """For gr.BrowserState: the latest messages, and which server they were written on."""
    return {"server": server, "messages": [[m["role"], _as_text(m)] for m in history[-MAX_MESSAGES:]]}


def _as_text(message: dict) -> str:
    return "\n".join(block["text"] if block["type"] == "text" else GONE[block["type"]] for block in content_parts(message))


def known(server: str, history: list[dict], kept) -> tuple[list[dict], str]:
    """(conversation, what to say about it): the server's, or else what the browser kept of it.

    A page that is open does not notice that its server was restarted; but then the server knows nothing of it.
    """
    return (history, "") if history else _brought_back(server, kept)


def _brought_back(server: str, kept) -> tuple[list[dict], str]:
    messages = kept.get("messages") if isinstance(kept, dict) else None
    if not isinstance(messages, list) or not messages or len(messages) > MAX_MESSAGES or not all(map(_fits, messages)):
        return [], ""
    history = [{"role": role, "content": text} for role, text in messages]
    history = history[1:] if history[0]["role"] == "assistant" else history  # its question was cut off
    return history, _notice(server == kept.get("server"), history)


def _fits(message) -> bool:
    if not isinstance(message, list) or len(message) != 2 or not all(isinstance(part, str) for part in message):
        return False
    limits = {"user": MAX_CHARACTERS, "assistant": MAX_ANSWER}
    return len(message[1]) <= limits.get(message[0], -1)


def _notice(same_server: bool, history: list[dict]) -> str:
    """One or two sentences: why the page is new, and which files must be given again."""
    questions = [message["content"] for message in history if message["role"] == "user"]
    asked = [number for number, text in enumerate(questions, 1) if any(gone in text for gone in GONE.values())]
    said = f"{LOADED_AGAIN if same_server else RESTARTED} The text of your conversation is still here."
    if not asked:
        return said
    which = "question" if len(asked) == 1 else "questions"
    return f"{said} Its pictures and videos are gone. Add them again where you need them: {which} {_list(asked)}."


def _list(numbers: list[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last
