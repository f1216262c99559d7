"""One answer, from a question to its last word.

Here: the conversation as it grows, and the thread in which the session works. Not here: buttons (`gradio_helper`),
sentences (`chat_page.strings`).
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import gradio as gr

from chat_page.messages import as_blocks
from chat_page.render import with_boxes
from chat_page.settings import Settings
from chat_page.strings import doing, plain, took
from chat_session import Answer, ChatSession, Progress, Stats

PATIENCE_S = 0.5  # between two looks whether the visitor pressed Stop
STOPPED = "Stopped."  # below an answer that is not all
ASKED = "…"  # below an answer of which nothing is known yet


def turn(
    session: ChatSession,
    before: list[dict],
    kept: int,
    message: dict | None,
    settings: Settings,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[list[dict], dict | None]]:
    """Yield the conversation while the answer to `message` grows, and what the input box then holds.

    The question comes after the first `kept` messages of the conversation. Once `stop` says so, what was written stays,
    and the line below says that it is not all. Where it fails, the last thing yielded is the conversation as it was
    `before`, and `message` is back in the box.
    """
    try:
        asked = [*before[:kept], {"role": "user", "content": as_blocks(message)}]
        yield [*asked, _growing("", ASKED)], None
        with closing(_events(session, asked, settings)) as events:
            for text, note in events:
                if stop():
                    yield [*asked, _answer(text, STOPPED)], gr.skip()
                    return
                yield [*asked, _growing(text, note)], gr.skip()
        yield [*asked, with_boxes(_answer(text, note), asked, session.processor, settings.visual_tokens)], gr.skip()
    except Exception as error:
        yield before, message
        raise plain(error) from error


def growing(history: list[dict]) -> bool:
    """Whether the last answer has begun and not ended: then little changes from one look to the next."""
    return bool(history) and history[-1].get("unfinished", False) and history[-1]["note"] != ASKED


def _answer(text: str, note: str) -> dict:
    return {"role": "assistant", "content": text, "note": note}


def _growing(text: str, note: str) -> dict:
    return {**_answer(text, note), "unfinished": True}


def _events(session: ChatSession, asked: list[dict], settings: Settings) -> Iterator[tuple[str, str]]:
    """(answer so far, what to say about it): what the session does, then text as it comes, at the end what it took.

    The session works in a thread of its own, because it tells its progress before it has a piece to give.
    """
    events: queue.SimpleQueue = queue.SimpleQueue()
    answer = session.stream(settings.with_system(asked), progress=events.put, **settings.options())
    threading.Thread(target=_pump, args=(answer, events), daemon=True).start()
    text = note = ""
    try:
        while True:
            for event in _waiting(events):
                if isinstance(event, BaseException):
                    raise event
                if isinstance(event, Stats):
                    yield text, took(event)
                    return
                text, note = (text + event, "") if isinstance(event, str) else (text, doing(event))
            yield text, note
    finally:
        answer.stop()  # and nothing more: Gradio closes this generator in the thread that serves all visitors


def _pump(answer: Answer, events: queue.SimpleQueue) -> None:
    """Pieces, then Stats, or the error that ended them."""
    try:
        for piece in answer:
            events.put(piece)
        events.put(answer.stats)
    except BaseException as error:  # also what tokenizers' Rust raises; the page would wait for ever
        events.put(error)


def _waiting(events: queue.SimpleQueue) -> list[str | Progress | Stats | BaseException]:
    """All that has happened since the last look; nothing, where nothing happens for a while: Gradio can only stop a
    generator that yields. One at a time, a fast model would be far ahead of the page.
    """
    found = []
    with suppress(queue.Empty):
        found.append(events.get(timeout=PATIENCE_S))
        while True:
            found.append(events.get_nowait())
    return found
