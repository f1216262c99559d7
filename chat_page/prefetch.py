"""Prefetching: what was uploaded is encoded while the visitor still types.

Here: when to begin, and when to call it off. Not here: the computing (`ChatSession.prepare`).
"""

import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from chat_page.messages import content_of_input
from chat_page.settings import Settings
from chat_session import ChatSession, MediaError, SessionError

POLL_S = 0.5  # between two chances for Gradio to close us, as it does when the tab is closed

logger = logging.getLogger(__name__)


@dataclass
class TabState:
    """What the server knows of one browser tab besides its conversation; changed in place.

    files_in_input: paths of what is in the input box now.
    files_sent: of the latest question.
    files_prefetched: what was prefetched last, or is now.
    answering: an answer to this tab is being written.
    stop_requested: its visitor pressed Stop.
    visitor: a random name, which the server gives out: what is cached for it serves nobody else.
    """

    files_in_input: list[str] = field(default_factory=list)
    files_sent: list[str] = field(default_factory=list)
    files_prefetched: list[str] = field(default_factory=list)
    answering: bool = False
    stop_requested: bool = False
    visitor: str = field(default_factory=lambda: secrets.token_hex(8))

    def __deepcopy__(self, memo: dict) -> "TabState":
        """Gradio copies one for each tab; each has a name of its own."""
        return TabState()


def prefetch(
    session: ChatSession, value: dict | None, before: list[dict], tab: TabState, settings: Settings
) -> Iterator[None]:
    """Encode the files of `value`, which the input box holds, behind the conversation `before`.

    Yields nothing of use until that is done, so that Gradio can close it when the tab is closed. It ends early, too,
    when the files are neither in the box any more nor were sent. What is wrong with them is said when they are asked
    about.
    """
    files = value["files"] if value else []
    if not files or files == tab.files_prefetched:
        return
    tab.files_prefetched = files
    closed = threading.Event()

    def wanted() -> bool:
        return not closed.is_set() and files in (tab.files_in_input, tab.files_sent)

    thread = threading.Thread(
        target=_prepare, args=(session, before, value, settings, wanted, tab.visitor), name="chat page: prefetch",
        daemon=True,
    )  # fmt: skip
    thread.start()
    try:
        while thread.is_alive():
            thread.join(POLL_S)
            yield
    finally:
        closed.set()


def _prepare(
    session: ChatSession,
    before: list[dict],
    value: dict,
    settings: Settings,
    wanted: Callable[[], bool],
    visitor: str,
) -> None:
    try:
        messages = settings.with_system([*before, {"role": "user", "content": content_of_input(value)}])
        session.prepare(messages, wanted=wanted, max_visual_tokens=settings.visual_tokens, visitor=visitor)
    except (SessionError, MediaError) as error:
        logger.info("not prefetched: %s", error)
    except Exception as error:
        logger.exception("prefetching failed", exc_info=error)
