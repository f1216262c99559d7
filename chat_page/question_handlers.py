"""What happens while a visitor types a question, and everything that leads to an answer.

Here: which component's value goes in, and which are set by what comes out. Not here: the answer itself
(`chat_page.answering`), buttons that need no model (`chat_page.button_handlers`).
"""

from collections.abc import Iterator
from contextlib import closing

import gradio as gr

from chat_page.answering import is_growing, stream_conversation
from chat_page.browser_state import restored, to_store
from chat_page.layout import ChatPage, notice_update
from chat_page.messages import input_of_question
from chat_page.prefetch import TabState, prefetch
from chat_page.render import render_history, unescape
from chat_page.settings import Settings, predicted_cost
from chat_session import ChatSession

UNCHANGED = gr.skip()  # for a component that stays as it is
IMMEDIATELY = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}  # for what takes no time


def connect_questions(page: ChatPage) -> list:
    """All that leads to an answer on the page: a new question, an old one again or edited, an example; and an answer
    that was cut and goes on.

    Returns the five events, so that others can cancel or follow them.
    """

    def reply(tab: TabState, before, index, message: dict | None, settings, *, notice="", first_input=UNCHANGED):
        """Values of the `outputs` below, again and again while the answer to `message` grows.

        The question becomes message `index` of the conversation `before`; without an index, its last answer goes on.
        first_input: what the input box holds once it is asked; after that, it is the visitor's.
        """

        def outputs(history: list[dict], input_value) -> tuple:
            stored = UNCHANGED if is_growing(history) else to_store(page.server_id, history)
            return history, render_history(history), input_value, stored, notice_update(notice)

        values = Settings.from_controls(page.session, *settings)
        input_value = first_input
        tab.answering = True
        tab.stop_requested = False
        try:
            conversations = stream_conversation(
                page.session, before, index, message, values, lambda: tab.stop_requested, visitor=tab.visitor
            )
            with closing(conversations):
                for history in conversations:
                    yield outputs(history, input_value)
                    input_value = UNCHANGED
        except gr.Error as error:
            yield outputs(before, UNCHANGED if index is None else message)
            gr.Warning(error.message, duration=error.duration)  # an error would cover the conversation
        finally:
            tab.answering = False

    def ask(message: dict | None, tab: TabState, history, stored, *settings):
        tab.files_sent = message["files"] if message else []
        before, notice = restored(page.server_id, history, stored)
        yield from reply(tab, before, len(before), message, settings, notice=notice, first_input=None)

    def retry(event: gr.RetryData, tab: TabState, history, stored, *settings):
        before, notice = restored(page.server_id, history, stored)
        message = input_of_question(before, event.index)
        yield from reply(tab, before, event.index, message, settings, notice=notice)

    def edit(event: gr.EditData, tab: TabState, history, stored, *settings):
        before, notice = restored(page.server_id, history, stored)
        message = {**input_of_question(before, event.index), "text": unescape(event.value)}
        yield from reply(tab, before, event.index, message, settings, notice=notice)

    def example(event: gr.SelectData, tab: TabState, *settings):
        yield from reply(tab, [], 0, page.examples[event.index], settings)

    def go_on(tab: TabState, history, stored, *settings):
        before, notice = restored(page.server_id, history, stored)
        if before and before[-1].get("cut"):
            yield from reply(tab, before, None, None, settings, notice=notice)

    shared = {
        "outputs": [page.history, page.chatbot, page.input, page.stored, page.notice], "api_visibility": "private",
        "show_progress": "minimal", "show_progress_on": [page.chatbot], **_limit(page.session),
    }  # fmt: skip
    conversation = [page.tab, page.history, page.stored]
    return [
        page.input.submit(ask, [page.input, *conversation, *page.settings], **shared),
        page.chatbot.retry(retry, [*conversation, *page.settings], **shared),
        page.chatbot.edit(edit, [*conversation, *page.settings], **shared),
        page.chatbot.example_select(example, [page.tab, *page.settings], **shared),
        page.go_on.click(go_on, [*conversation, *page.settings], **shared),
    ]


def connect_typing(page: ChatPage) -> None:
    """What happens while a visitor types: the cost is predicted, and files are encoded."""

    def predict(value: dict | None, before: list[dict], tab: TabState, *settings) -> str:
        tab.files_in_input = value["files"] if value else []
        values = Settings.from_controls(page.session, *settings)
        return predicted_cost(page.session, before, value, values, tab.visitor)

    def encode(value: dict | None, before: list[dict], tab: TabState, *settings) -> Iterator[None]:
        yield from prefetch(page.session, value, before, tab, Settings.from_controls(page.session, *settings))

    inputs = [page.input, page.history, page.tab, *page.settings]
    visual_tokens = page.settings[-1]
    changes = [page.input.change, visual_tokens.release]
    gr.on(changes, predict, inputs, page.cost, trigger_mode="always_last", **IMMEDIATELY)
    gr.on(
        changes, encode, inputs, trigger_mode="always_last", show_progress="hidden", api_visibility="private",
        concurrency_id="prefetch",
    )  # fmt: skip


def add_endpoint(page: ChatPage) -> None:
    """The page for programs: `client.predict(message=..., api_name="/chat")`, see the README."""

    def chat(
        message, system_prompt, temperature, max_tokens, repetition_penalty, seed, visual_tokens, before,
        client: gr.Request,
    ):  # fmt: skip
        """Answer a message in the conversation of this client. The answer grows as it is written.

        message: {"text": str, "files": list of pictures and videos, each from gradio_client.handle_file}.
        system_prompt: str, what the model is told before the conversation. temperature: float, 0 for the likeliest
        word every time. max_tokens: int, the longest answer. repetition_penalty: float, 1 for the model's own. seed:
        int, for the same answer again where temperature is not 0. visual_tokens: int, the most for each picture.
        Returns the answer so far, a str.
        """
        values = (system_prompt, temperature, max_tokens, repetition_penalty, seed, visual_tokens)
        settings = Settings.from_controls(page.session, *values)
        try:
            conversations = stream_conversation(
                page.session, before, len(before), message, settings, visitor=f"client {client.session_hash}"
            )
            for history in conversations:
                yield history, history[-1]["content"]
        except gr.Error:
            yield before, before[-1]["content"] if before else ""  # without the question that failed
            raise

    answer = gr.Textbox(visible=False, label="Answer")
    gr.Button(visible=False).click(
        chat, [page.input, *page.settings, page.history], [page.history, answer], api_name="chat",
        **_limit(page.session),
    )  # fmt: skip


def _limit(session: ChatSession) -> dict:
    """For everything that runs the model: one at a time, where the session does not say that it has several."""
    return {"concurrency_limit": session.max_concurrent_answers, "concurrency_id": "model"}
