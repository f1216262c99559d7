"""Every button that needs no model, and what happens when the page is opened.

Here: Stop, Clear and its Undo, Save, Open, Gradio's Undo, coming back. Not here: what leads to an answer
(`chat_page.question_handlers`), the files (`chat_page.conversation_file`, `chat_page.markdown_file`).
"""

import gradio as gr

from chat_page.conversation_file import load, save
from chat_page.header import memory_note
from chat_page.layout import ChatPage
from chat_page.markdown_file import save_as_markdown
from chat_page.messages import empty_input, finished, input_of_question, is_empty, value_of_input
from chat_page.prefetch import TabState, wait_for_end
from chat_page.question_handlers import IMMEDIATELY, NOTHING, TELLING, as_if_never_asked, conversation_values
from chat_page.settings import bring_back
from chat_page.strings import NOTICE_S, visible_error
from chat_page.theme import OFFER_UNDO, PRESS_DOWNLOAD
from chat_session import MediaError, SessionError


def connect_buttons(blocks: gr.Blocks, page: ChatPage, answers: list) -> None:
    """answers: the events that lead to one (see `connect_questions`)."""

    def come_back(tab: TabState, history, stored):
        tab.visitor = page.browser.visitor_of(stored) or tab.visitor
        return conversation_values(page, tab, *page.browser.restored(history, stored))

    def undo(event: gr.UndoData, tab: TabState, history, stored):
        history, notice = page.browser.restored(history, stored)
        question = input_of_question(history, event.index)
        return conversation_values(page, tab, history[: event.index], notice, question)

    def save_with(write):
        def save_to_file(history, stored):
            history, _ = page.browser.restored(history, stored)
            try:
                return write(history)
            except (SessionError, MediaError) as error:
                raise visible_error(error) from error

        return save_to_file

    def load_file(path, tab: TabState):
        try:
            loaded = load(path)
        except (SessionError, MediaError) as error:
            gr.Warning(str(error), duration=NOTICE_S)
            return NOTHING
        end_answer(tab)
        return conversation_values(page, tab, loaded, "")

    def clear(tab: TabState, history, box: dict | None, pages: str):
        end_answer(tab)
        value = value_of_input(box, pages)
        if history or not is_empty(value):
            tab.cleared = finished(history), value
        return conversation_values(page, tab, [], "", input_value=empty_input())

    def undo_clear(tab: TabState, history):
        if history or tab.asked:
            return NOTHING
        cleared, value = tab.cleared
        return conversation_values(page, tab, cleared, input_value=value)

    def stop(tab: TabState, history):
        if not tab.asked:
            tab.stop_requested = True
            wait_for_end(tab)
            return NOTHING
        tab.asked = False  # it still waits for its turn
        return as_if_never_asked(page, tab, history)

    # Nothing is cancelled: an answer ends by itself, and one that still waits finds its question taken back. Cancelled,
    # an answer could have text on its way that comes after "Stopped.".
    page.input.stop(stop, [page.tab, page.history], page.conversation, **IMMEDIATELY)
    all_of_it = [page.tab, page.history, page.input, page.pages]
    cleared = page.clear.click(clear, all_of_it, page.conversation, **IMMEDIATELY)
    cleared.success(None, js=OFFER_UNDO)
    page.undo_clear.click(undo_clear, [page.tab, page.history], page.conversation, **IMMEDIATELY)
    conversation = [page.tab, page.history, page.stored]
    page.chatbot.undo(undo, conversation, page.conversation, **IMMEDIATELY)
    for button, write in ((page.save, save), (page.save_text, save_as_markdown)):
        saved = button.click(save_with(write), [page.history, page.stored], page.download, **TELLING)
        saved.success(None, js=PRESS_DOWNLOAD)
    page.load.upload(load_file, [page.load, page.tab], page.conversation, **TELLING)
    blocks.load(come_back, conversation, page.conversation, **IMMEDIATELY)
    # By the browser alone: what the server answers could come after the visitor has changed something.
    blocks.load(None, page.settings, page.settings, js=bring_back(page.settings))
    for index, control in enumerate(page.settings):
        # Not `change`, which comes when a control is shown, too. "input" alone misses what is pasted, and a reset.
        by_hand = [getattr(control, name) for name in ("input", "blur", "release") if hasattr(control, name)]
        gr.on(by_hand, None, control, js=f"(value) => keepSetting({index}, value)", trigger_mode="multiple")
    for answer in answers:
        answer.then(lambda: memory_note(page.session), None, page.cache, **IMMEDIATELY)


def end_answer(tab: TabState) -> None:
    """Of a conversation that is about to go."""
    tab.asked = False
    tab.stop_requested = True
    wait_for_end(tab)
