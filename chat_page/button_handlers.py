"""Every button that needs no model, and what happens when the page is opened.

Here: Stop, Clear, Save, Load, Undo, coming back. Not here: what leads to an answer (`chat_page.question_handlers`), the
saved file (`chat_page.conversation_file`).
"""

import time

import gradio as gr

from chat_page.browser_state import restored, to_store
from chat_page.conversation_file import load, save
from chat_page.header import memory_note
from chat_page.layout import ChatPage, notice_update
from chat_page.messages import input_of_question
from chat_page.prefetch import TabState
from chat_page.question_handlers import IMMEDIATELY
from chat_page.render import render_history
from chat_page.strings import NOTICE_S, visible_error
from chat_page.theme import PRESS_DOWNLOAD
from chat_session import MediaError, SessionError

STOP_TIMEOUT_S = 2  # longest wait for an answer that is being stopped
POLL_S = 0.02  # between two looks whether it has ended


def connect_buttons(blocks: gr.Blocks, page: ChatPage, answers: list) -> None:
    """answers: the events that lead to one (see `connect_questions`); some buttons cancel them."""
    conversation = [page.history, page.chatbot, page.stored, page.notice]

    def outputs(history: list[dict], notice: str = "") -> tuple:
        """Values of `conversation`."""
        return history, render_history(history), to_store(page.server_id, history), notice_update(notice)

    def come_back(history, stored):
        return outputs(*restored(page.server_id, history, stored))

    def undo(event: gr.UndoData, history, stored):
        history, notice = restored(page.server_id, history, stored)
        return *outputs(history[: event.index], notice), input_of_question(history, event.index)

    def save_to_file(history, stored):
        history, _ = restored(page.server_id, history, stored)
        try:
            return save(history)
        except (SessionError, MediaError) as error:
            raise visible_error(error) from error

    def load_file(path, history, stored, tab: TabState):
        _wait_for_end(tab)
        try:
            return outputs(load(path))
        except (SessionError, MediaError) as error:
            gr.Warning(str(error), duration=NOTICE_S)
            return come_back(history, stored)

    def clear(tab: TabState):
        _wait_for_end(tab)
        return outputs([])

    def clear_with_input(tab: TabState):
        return *clear(tab), None

    def stop(tab: TabState):
        tab.stop_requested = True
        _wait_for_end(tab)

    def header():
        return page.model_line + memory_note(page.session)

    # Cancelled at once, an answer could have text on its way that comes after "Stopped.": it ends by itself, and what
    # is cancelled is a question that still waits for its turn.
    page.stop.click(stop, page.tab, **IMMEDIATELY).then(None, cancels=answers)
    page.clear.click(clear_with_input, page.tab, [*conversation, page.input], cancels=answers, **IMMEDIATELY)
    # Gradio empties the conversation before we are asked; what is written meanwhile must not be lost.
    page.chatbot.clear(clear, page.tab, conversation, cancels=answers, **IMMEDIATELY)
    page.chatbot.undo(undo, [page.history, page.stored], [*conversation, page.input], **IMMEDIATELY)
    saved = page.save.click(save_to_file, [page.history, page.stored], page.download, **IMMEDIATELY)
    saved.success(None, js=PRESS_DOWNLOAD)
    queued = {**IMMEDIATELY, "queue": True}  # outside the queue, Gradio has no way to bring a warning to the page
    page.load.upload(
        load_file, [page.load, page.history, page.stored, page.tab], conversation, cancels=answers, **queued
    )
    blocks.load(come_back, [page.history, page.stored], conversation, **IMMEDIATELY)
    blocks.load(header, None, page.header, **IMMEDIATELY)
    for answer in answers:
        answer.then(header, None, page.header, **IMMEDIATELY)


def _wait_for_end(tab: TabState) -> None:
    """Of the answer that is being stopped or cancelled, so that no text of it comes later."""
    end = time.monotonic() + STOP_TIMEOUT_S
    while tab.answering and time.monotonic() < end:
        time.sleep(POLL_S)
