"""Looking at what was uploaded while the visitor still types.

Here: when to begin, and when to call it off. Not here: the looking itself (`ChatSession.prepare`).
"""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from chat_page.messages import as_blocks
from chat_page.settings import Settings
from chat_session import ChatSession, MediaError, SessionError

PATIENCE_S = 0.5  # between two chances for Gradio to close us, as it does when the tab is closed

logger = logging.getLogger(__name__)


@dataclass
class Box:
    """What a visitor's input box holds, what of it was sent, and whether the answer to it is being written, or is to be
    stopped: one for each tab, changed in place.
    """

    files: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    looked_at: list[str] = field(default_factory=list)
    answering: bool = False
    stop: bool = False


def look_ahead(
    session: ChatSession, message: dict | None, before: list[dict], box: Box, settings: Settings
) -> Iterator[None]:
    """See the files of `message` for as long as they are in the box or were sent, and the tab is open.

    What is wrong with them is said when they are asked about.
    """
    files = message["files"] if message else []
    if not files or files == box.looked_at:
        return
    box.looked_at, closed = files, threading.Event()

    def wanted() -> bool:
        return not closed.is_set() and files in (box.files, box.sent)

    thread = threading.Thread(target=_prepare, args=(session, before, message, settings, wanted), daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(PATIENCE_S)
            yield
    finally:
        closed.set()


def _prepare(session: ChatSession, before: list[dict], message: dict, settings: Settings, wanted) -> None:
    try:
        asked = settings.with_system([*before, {"role": "user", "content": as_blocks(message)}])
        session.prepare(asked, wanted=wanted, max_visual_tokens=settings.visual_tokens)
    except (SessionError, MediaError) as error:
        logger.info("not looked at before the question: %s", error)
    except Exception as error:
        logger.exception("looking ahead failed", exc_info=error)
