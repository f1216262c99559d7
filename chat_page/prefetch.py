"""Prefetching: what was uploaded is encoded while the visitor still types.

Here: when to begin, when to call it off, what is found to be damaged. Not here: the computing (`ChatSession.prepare`).
"""

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr

from adapters.open_streams import visitor_address
from chat_page.messages import content_of_input, empty_input, unusable
from chat_page.previews import make_previews
from chat_page.settings import Settings
from chat_session import ChatSession, MediaError, SessionError
from session.answer import Interrupted
from session.prompt import build_prompt

STOP_TIMEOUT_S = 2  # longest wait for an answer that is being stopped
LOOK_S = 0.02  # between two looks whether it has ended
POLL_S = 0.5  # between two chances for Gradio to close us, as it does when the tab is closed

logger = logging.getLogger(__name__)


@dataclass
class TabState:
    """What the server knows of one browser tab besides its conversation; changed in place.

    in_input: what is in the input box now (see `chat_page.messages`).
    files_checked: those of them that can be used.
    damaged: those that turned out damaged when they were opened, each with a sentence, until the visitor is told.
    files_sent: of the latest question.
    prefetched: the files that were prefetched last, or are now, and how they are looked at.
    asked: a question, shown already, waits for its answer to begin.
    answering: an answer to this tab is being written.
    previous: the conversation before that question.
    stored_at: when the browser was last given what to store.
    cleared: the conversation and the input box before the last Clear.
    stop_requested: its visitor pressed Stop.
    visitor: a random name, which the server gives out: what is cached for it serves nobody else.
    """

    in_input: dict = field(default_factory=empty_input)
    files_checked: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    files_sent: list[str] = field(default_factory=list)
    prefetched: tuple = ()
    asked: bool = False
    answering: bool = False
    previous: list[dict] = field(default_factory=list)
    stored_at: float = 0
    cleared: tuple[list[dict], dict] = field(default_factory=lambda: ([], empty_input()))
    stop_requested: bool = False
    visitor: str = field(default_factory=lambda: secrets.token_hex(8))

    def asks_from(self, request: gr.Request) -> str:
        """The visitor for a session: tabs of one address share their time (see `ChatSession.stream`)."""
        return f"{visitor_address(request.client)}/tab {self.visitor}"

    def __deepcopy__(self, memo: dict) -> "TabState":
        """Gradio copies one for each tab; each has a name of its own."""
        return TabState()


def wait_for_end(tab: TabState) -> bool:
    """Of the answer that is being stopped, or at its end, so that no text of it comes later; False if it does not."""
    end = time.monotonic() + STOP_TIMEOUT_S
    while tab.answering and time.monotonic() < end:
        time.sleep(LOOK_S)
    return not tab.answering


def prefetch(
    session: ChatSession, value: dict, before: list[dict], tab: TabState, settings: Settings, visitor: str
) -> Iterator[None]:
    """Encode the files of `value`, which the input box holds, behind the conversation `before`.

    Yields nothing of use until that is done, so that Gradio can close it when the tab is closed. It ends early, too,
    when the files are neither in the box any more nor were sent. What cannot be opened is in `tab.damaged` then.
    """
    files = value["files"]
    looked_at = (files, value["pages"], settings.visual_tokens, settings.video_frames)
    if not files or looked_at == tab.prefetched:
        return
    tab.prefetched = looked_at
    closed = threading.Event()

    def wanted() -> bool:
        in_use = files in (tab.in_input["files"], tab.files_sent)
        return not closed.is_set() and in_use and tab.prefetched == looked_at

    def prepare() -> None:
        try:
            messages = settings.asked(before, value)
            session.prepare(messages, wanted=wanted, max_visual_tokens=settings.visual_tokens, visitor=visitor)
        except SessionError as error:
            logger.info("not prefetched: %s", error)
        except MediaError:
            tab.damaged = _damaged(session.processor, value, wanted)
        except Exception as error:
            logger.exception("prefetching failed", exc_info=error)

    thread = threading.Thread(target=prepare, name="chat page: prefetch", daemon=True)
    thread.start()
    try:
        with contextlib.suppress(SessionError, MediaError, Interrupted):  # of which the thread tells
            for part in settings.asked([], value)[-1]["content"]:
                make_previews(session.processor, part, wanted)
                yield
        while thread.is_alive():
            thread.join(POLL_S)
            yield
    finally:
        closed.set()


def _damaged(processor, value: dict, wanted: Callable[[], bool]) -> dict[str, str]:
    """Which files of `value` cannot be opened, each with a sentence that names it: they are opened one by one. Those of
    no known kind are not among them: they were told of already.
    """
    found = {}
    for path in set(value["files"]) - unusable(value).keys():
        try:
            content = content_of_input({"text": "", "files": [path]})
            build_prompt(processor, [{"role": "user", "content": content}], wanted=wanted)
        except MediaError as error:
            found[path] = f"{Path(path).name}: {error}"
        except Interrupted:
            break
    return found
