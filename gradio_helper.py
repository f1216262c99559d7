"""The chat page: `make_demo(model, processor)` returns it, `.launch()` opens it on this machine only.

Here: what is on the page, and what follows when a visitor does something. Not here: how it is said, shown, kept and
undone, for which there is a file each in `chat_page/`; reading files, tokens, running the model (`chat_session`).
Nothing is fetched from outside, shared, or sent anywhere.

The conversation is kept on the server, one for each browser tab, so no client can hand in a forged one.
"""

import copy
import secrets
import time
from types import SimpleNamespace

import gradio as gr
from gradio_client.utils import is_http_url_like, traverse

from chat_page import browser_state as kept
from chat_page import conversation_file as saved
from chat_page import header as about
from chat_page.answering import growing, turn
from chat_page.messages import MAX_FILES, question
from chat_page.prefetch import Box, look_ahead
from chat_page.render import as_typed, shown
from chat_page.settings import NO_PICTURE, Settings, controls, predicted
from chat_page.strings import NOTICE_S, plain
from chat_page.theme import DOWNLOAD, FILES_AGE, HOUR, LAUNCH
from chat_session import ChatSession, MediaError, SessionError

__all__ = ["LAUNCH", "MAX_FILES", "make_demo"]

STOPPING_S = 2  # longest wait for an answer that is being stopped
AT_ONCE = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}  # for what takes no time
FILES = "Files that you add stay on the machine that serves this page. They are deleted there after a day."
SAME = gr.skip()  # of a component that stays as it is


class ChatPage(gr.Blocks):
    """Gradio's page with our LAUNCH settings for defaults, and no file but those uploaded to it."""

    def launch(self, *args, **settings):
        return super().launch(*args, **{**LAUNCH, **settings})

    async def preprocess_data(self, block_fn, inputs, state, explicit_call=False):
        # Gradio would fetch a file that a client names by URL before any handler of ours is asked.
        traverse(inputs, _refuse_addresses, lambda value: isinstance(value, dict) and "path" in value)
        return await super().preprocess_data(block_fn, inputs, state, explicit_call)


def _refuse_addresses(file: dict) -> dict:
    if is_http_url_like(str(file["path"])):
        raise gr.Error("Only files that were uploaded to this page can be used.")
    return file


def make_demo(model, processor, *, session: ChatSession | None = None) -> gr.Blocks:
    """The page for chatting with `model`; `session` replaces the ChatSession that is made of the two."""
    session = session or ChatSession(model, processor)
    page = ChatPage(title="Qwen2-VL chat", analytics_enabled=False, delete_cache=(HOUR, FILES_AGE), fill_height=True)
    with page:
        on = _lay_out(model, session)
        asks = _connect_questions(session, on)
        _connect_box(session, on)
        _connect_buttons(page, session, on, asks)
        _add_endpoint(session, on)
    return page.queue(max_size=256)


def _lay_out(model, session: ChatSession) -> SimpleNamespace:
    """The components, from top to bottom, and what the server knows of each tab."""
    on = SimpleNamespace(server=secrets.token_hex(8), examples=about.examples(model))
    gr.Markdown("# Chat about your pictures and videos")
    on.model = about.about(model)
    on.about = gr.Markdown(on.model, elem_classes="quiet")
    if about.is_practice(model):
        gr.Markdown(about.PRACTICE, elem_classes="practice")
    on.notice = gr.Markdown(visible=False, elem_classes="notice")
    on.history = gr.State([])  # see chat_page.messages
    on.in_box = gr.State(Box())
    on.kept = gr.BrowserState(None, storage_key="qwen2-vl-chat", secret="the visitor's own text")
    on.chatbot = _conversation(on.examples)
    on.box = gr.MultimodalTextbox(
        label="Input", show_label=False, placeholder="Ask about a picture…", file_types=["image", "video"],
        file_count="multiple", submit_btn="Submit", max_plain_text_length=100_000,
    )  # fmt: skip
    with gr.Row(elem_classes="tools"):
        on.stop, on.clear, on.save = (gr.Button(name, size="sm") for name in ("Stop", "Clear", "Save"))
        on.load = gr.UploadButton("Load", size="sm", file_types=[".zip"])
        on.download = gr.DownloadButton("Download", elem_id="download")  # never seen: Save presses it
    with gr.Accordion("Settings", open=False):
        on.settings = controls(session)
        on.cost = gr.Markdown(NO_PICTURE, elem_classes="quiet")
    gr.Markdown(FILES, elem_classes="quiet")
    return on


def _notice(text: str) -> dict:
    return gr.update(value=text, visible=bool(text))


def _conversation(examples: list[dict]) -> gr.Chatbot:
    chatbot = gr.Chatbot(
        label="Conversation", show_label=False, placeholder="Add a picture or a video and ask about it, or try these:",
        examples=copy.deepcopy(examples), scale=1, min_height=340, render_markdown=False, latex_delimiters=[],
        buttons=["copy"], editable="user", allow_file_downloads=False,
        group_consecutive_messages=False,  # Gradio cannot edit a message that shares its bubble with a picture
    )  # fmt: skip
    chatbot.keep_in_cache.update(path for example in examples for path in example["files"])
    return chatbot


def _connect_questions(session: ChatSession, on: SimpleNamespace) -> list:
    """All that leads to an answer: a new question, an old one again or edited, an example."""

    def reply(box, known, place, message, settings, box_meanwhile=SAME):
        (before, notice), settings = known, Settings.of(session, *settings)
        box.answering, box.stop = True, False
        try:
            for messages, in_box in turn(session, before, place, message, settings, lambda: box.stop):
                keep = SAME if growing(messages) else kept.to_keep(on.server, messages)
                yield messages, shown(messages), box_meanwhile if in_box is None else in_box, keep, _notice(notice)
        except gr.Error as error:  # raised, it would cover the conversation
            gr.Warning(error.message, duration=error.duration)
        finally:
            box.answering = False

    def ask(message, box, history, text, *settings):
        box.sent = message["files"] if message else []
        known = kept.known(on.server, history, text)
        yield from reply(box, known, len(known[0]), message, settings, None)

    def retry(event: gr.RetryData, box, history, text, *settings):
        known = kept.known(on.server, history, text)
        yield from reply(box, known, event.index, question(known[0], event.index), settings)

    def edit(event: gr.EditData, box, history, text, *settings):
        known = kept.known(on.server, history, text)
        message = {**question(known[0], event.index), "text": as_typed(event.value)}
        yield from reply(box, known, event.index, message, settings)

    def example(event: gr.SelectData, box, *settings):
        yield from reply(box, ([], ""), 0, on.examples[event.index], settings)

    shows = {
        "outputs": [on.history, on.chatbot, on.box, on.kept, on.notice], "api_visibility": "private",
        "show_progress": "minimal", "show_progress_on": [on.chatbot], **_few(session),
    }  # fmt: skip
    return [
        on.box.submit(ask, [on.box, on.in_box, on.history, on.kept, *on.settings], **shows),
        on.chatbot.retry(retry, [on.in_box, on.history, on.kept, *on.settings], **shows),
        on.chatbot.edit(edit, [on.in_box, on.history, on.kept, *on.settings], **shows),
        on.chatbot.example_select(example, [on.in_box, *on.settings], **shows),
    ]


def _connect_box(session: ChatSession, on: SimpleNamespace) -> None:
    """What happens while a visitor writes: the cost is predicted, and pictures are looked at."""

    def predict(message, before, in_box, *settings):
        in_box.files = message["files"] if message else []
        return predicted(session, before, message, Settings.of(session, *settings))

    def look(message, before, in_box, *settings):
        yield from look_ahead(session, message, before, in_box, Settings.of(session, *settings))

    now = [on.box, on.history, on.in_box, *on.settings]
    changes = [on.box.change, on.settings[-1].release]
    gr.on(changes, predict, now, on.cost, trigger_mode="always_last", **AT_ONCE)
    gr.on(
        changes, look, now, trigger_mode="always_last", show_progress="hidden", api_visibility="private",
        concurrency_id="look ahead",
    )  # fmt: skip


def _connect_buttons(page: gr.Blocks, session: ChatSession, on: SimpleNamespace, asks: list) -> None:
    """Everything else that can be clicked, and what happens when the page is opened."""
    conversation = [on.history, on.chatbot, on.kept, on.notice]

    def shows(history, notice=""):
        return history, shown(history), kept.to_keep(on.server, history), _notice(notice)

    def bring_back(history, text):
        return shows(*kept.known(on.server, history, text))

    def undo(event: gr.UndoData, history, text):
        history, notice = kept.known(on.server, history, text)
        return *shows(history[: event.index], notice), question(history, event.index)

    def save(history, text):
        try:
            return saved.save(kept.known(on.server, history, text)[0])
        except (SessionError, MediaError) as error:
            raise plain(error) from error

    def load(path, history, text, box):
        _wait_for_end(box)
        try:
            return shows(saved.load(path))
        except (SessionError, MediaError) as error:
            gr.Warning(str(error), duration=NOTICE_S)
            return bring_back(history, text)

    def clear(box):
        _wait_for_end(box)
        return shows([])

    def stop(box):
        box.stop = True
        _wait_for_end(box)

    # Cancelled at once, an answer could have a look on its way that comes after "Stopped.": it ends by itself, and what
    # is cancelled is a question that still waits for its turn.
    on.stop.click(stop, on.in_box, **AT_ONCE).then(None, cancels=asks)
    on.clear.click(lambda box: (*clear(box), None), on.in_box, [*conversation, on.box], cancels=asks, **AT_ONCE)
    # Gradio empties the conversation before we are asked; what is written meanwhile must not be lost.
    on.chatbot.clear(clear, on.in_box, conversation, cancels=asks, **AT_ONCE)
    on.chatbot.undo(undo, [on.history, on.kept], [*conversation, on.box], **AT_ONCE)
    on.save.click(save, [on.history, on.kept], on.download, **AT_ONCE).success(None, js=DOWNLOAD)
    queued = {**AT_ONCE, "queue": True}  # outside the queue, Gradio has no way to bring a warning to the page
    on.load.upload(load, [on.load, on.history, on.kept, on.in_box], conversation, cancels=asks, **queued)
    page.load(bring_back, [on.history, on.kept], conversation, **AT_ONCE)
    for opened_or_answered in (page.load, *(asked.then for asked in asks)):
        opened_or_answered(lambda: on.model + about.memory(session), None, on.about, **AT_ONCE)


def _few(session: ChatSession) -> dict:
    """For everything that runs the model: one at a time, where the session does not say that it has several."""
    return {"concurrency_limit": session.max_concurrent_answers, "concurrency_id": "model"}


def _wait_for_end(box: Box) -> None:
    """Of the answer that is being stopped or cancelled, so that no look at it comes later."""
    end = time.monotonic() + STOPPING_S
    while box.answering and time.monotonic() < end:
        time.sleep(0.02)


def _add_endpoint(session: ChatSession, on: SimpleNamespace) -> None:
    def chat(message, system_prompt, temperature, max_tokens, seed, visual_tokens, before):
        """Answer a message in the conversation of this client. The answer grows as it is written.

        message: {"text": str, "files": list of pictures and videos, each from gradio_client.handle_file}.
        system_prompt: str, what the model is told before the conversation. temperature: float, 0 for the likeliest
        word every time. max_tokens: int, the longest answer. seed: int, for the same answer again where
        temperature is not 0. visual_tokens: int, the most for each picture. Returns the answer so far, a str.
        """
        settings = Settings.of(session, system_prompt, temperature, max_tokens, seed, visual_tokens)
        for messages, _ in turn(session, before, len(before), message, settings):
            yield messages, messages[-1]["content"] if messages else ""

    answer = gr.Textbox(visible=False, label="Answer")
    gr.Button(visible=False).click(
        chat, [on.box, *on.settings, on.history], [on.history, answer], api_name="chat", **_few(session)
    )
