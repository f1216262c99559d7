"""The chat page: `make_demo(model, processor)` returns it, `.launch()` opens it on this machine only.

    page = make_demo(model, processor)
    page.launch()

Here: the order in which the page is put together. Not here: each of its parts, for which there is a file in
`chat_page/`; files, tokens, running the model (`chat_session`). Nothing is fetched from outside, shared, or sent
anywhere.

The path of a question, from a visitor's click to the last word of the answer:

    chat_page.question_handlers   `ask` gets the values of the page's components, and the conversation of this tab
    chat_page.messages            the value of the input box becomes a message
    chat_page.answering           a thread of its own runs `ChatSession.stream`; the conversation grows by what it says
    chat_page.draw_boxes          boxes in the answer are drawn on its picture
    chat_page.render              the conversation becomes what Gradio's Chatbot takes
    chat_page.browser_state       its text becomes what the browser stores

A conversation is on the server, one for each browser tab, so that no client can hand in a forged one.
"""

import gradio as gr

from chat_page.button_handlers import connect_buttons
from chat_page.layout import ChatBlocks, lay_out
from chat_page.messages import MAX_FILES
from chat_page.question_handlers import add_endpoint, connect_questions, connect_typing
from chat_session import ChatSession

__all__ = ["MAX_FILES", "make_demo"]

MAX_WAITING_QUESTIONS = 256  # of all visitors; more are refused as too many


def make_demo(model, processor, *, session: ChatSession | None = None) -> gr.Blocks:
    """The page for chatting with `model`; `session` replaces the ChatSession that is made of the two."""
    session = session or ChatSession(model, processor, shared_cache=True)  # a notebook is for one person
    with ChatBlocks() as blocks:
        page = lay_out(model, session)
        answers = connect_questions(page)
        connect_typing(page)
        connect_buttons(blocks, page, answers)
        add_endpoint(page)
    return blocks.queue(max_size=MAX_WAITING_QUESTIONS)
