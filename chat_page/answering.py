"""One answer, from a question to its last word.

Here: the conversation as it grows, and the thread in which the session works. Not here: buttons
(`chat_page.question_handlers`), sentences (`chat_page.strings`).
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

from chat_page.draw_boxes import with_drawn_boxes
from chat_page.messages import STOPPED, content_of_input
from chat_page.settings import Settings
from chat_page.strings import progress_line, stats_line, visible_error
from chat_session import ChatSession, Progress, SessionError, Stats

POLL_S = 0.1  # between two looks at what is new, and whether the visitor pressed Stop
ASKED = "…"  # below an answer of which nothing is known yet
NOT_CUT = "This answer is complete."


def with_question(before: list[dict], index: int, message: dict) -> list[dict]:
    """`before` with `message`, a value of the input box, as its message `index`, and an answer that is to come.

    What came after that is left out. Raises SessionError where the message is none.
    """
    question = {"role": "user", "content": content_of_input(message)}
    return [*before[:index], question, _unfinished_answer("", ASKED)]


def with_continuation(before: list[dict]) -> list[dict]:
    """`before` with its last answer, which was cut, going on. Raises SessionError where none was."""
    if not before or not before[-1].get("cut"):
        raise SessionError(NOT_CUT)
    return [*before[:-1], _unfinished_answer(before[-1]["content"], ASKED)]


def stream_conversation(
    session: ChatSession,
    history: list[dict],
    settings: Settings,
    stop_requested: Callable[[], bool] = lambda: False,
    visitor: str = "",
) -> Iterator[list[dict]]:
    """Yields the conversation again and again while the last answer of `history` grows (see `with_question`).

    Once `stop_requested()`, what was written stays, and the line below says that it is not all. Raises gr.Error, in a
    sentence for visitors, where it fails. visitor: see `ChatSession.stream`.
    """
    *asked, answer = settings.with_frames(history)
    try:
        with closing(_answers(session, asked, answer["content"], settings, visitor)) as answers:
            for answer in answers:
                if stop_requested():
                    yield [*asked, _answer(answer["content"], STOPPED)]
                    return
                if "unfinished" in answer:
                    yield [*asked, answer]
        yield [*asked, with_drawn_boxes(answer, asked, session.processor, settings.visual_tokens)]
    except Exception as error:
        raise visible_error(error) from error


def is_growing(history: list[dict]) -> bool:
    """Whether the last answer has begun and not ended: then little changes from one conversation to the next."""
    return bool(history) and history[-1].get("unfinished", False) and history[-1]["note"] != ASKED


def _answer(text: str, note: str) -> dict:
    return {"role": "assistant", "content": text, "note": note}


def _unfinished_answer(text: str, note: str) -> dict:
    return {**_answer(text, note), "unfinished": True}


def _answers(
    session: ChatSession, asked: list[dict], begun: str, settings: Settings, visitor: str
) -> Iterator[dict]:
    """The answer as it grows from what is `begun`, with a line below it: what the session does, later nothing, at the
    end what it took.

    The session works in a thread of its own, because it tells its progress before it has a piece to give.
    """
    events: queue.SimpleQueue = queue.SimpleQueue()
    messages, options = settings.given(asked), settings.options()
    if begun:
        messages, options = [*messages, _answer(begun, "")], {**options, "continue_final_message": True}
    answer = session.stream(messages, progress=events.put, visitor=visitor, **options)
    threading.Thread(target=answer.pump, args=(events.put,), name="chat page: answer", daemon=True).start()
    text, note = begun, ""
    try:
        while True:
            next_look = time.monotonic() + POLL_S
            for event in _all_new(events):
                match event:
                    case str():
                        text, note = text + event, ""
                    case Progress():
                        note = progress_line(event)
                    case Stats():
                        yield {**_answer(text, stats_line(event)), "cut": event.finish_reason == "length"}
                        return
                    case _:
                        raise event
            yield _unfinished_answer(text, note)
            time.sleep(max(0.0, next_look - time.monotonic()))  # each look is sent and rendered as a whole
    finally:
        answer.stop()  # and nothing more: Gradio closes this generator in the thread that serves all visitors


def _all_new(events: queue.SimpleQueue) -> list[str | Progress | Stats | BaseException]:
    """All that has happened since the last call; an empty list after POLL_S in which nothing did, because Gradio can
    only stop a generator that yields. One event at a time, a fast model would be far ahead of the page.
    """
    found = []
    with suppress(queue.Empty):
        found.append(events.get(timeout=POLL_S))
        while True:
            found.append(events.get_nowait())
    return found
