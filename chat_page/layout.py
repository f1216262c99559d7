"""What is on the page, from top to bottom.

Here: the components, and what is the same for all visitors of a page. Not here: what happens when a visitor does
something (`chat_page.question_handlers`, `chat_page.button_handlers`), how it looks (`chat_page.theme`).
"""

import copy
import secrets
from dataclasses import dataclass, field

import gradio as gr

from adapters.gradio_internals import keep_files
from adapters.guarded_blocks import GuardedBlocks
from chat_page.examples import example_questions
from chat_page.header import PRACTICE, is_practice, model_line
from chat_page.markdown import LATEX_DELIMITERS
from chat_page.prefetch import TabState
from chat_page.settings import NO_PICTURE, controls
from chat_page.theme import HOUR_S, LAUNCH, MAX_FILE_AGE_S
from chat_session import ChatSession

FILES = "Files that you add stay on the machine that serves this page. They are deleted there after a day."


class ChatBlocks(GuardedBlocks):
    """Gradio's page with our LAUNCH settings for defaults, guarded against strangers."""

    def __init__(self):
        super().__init__(
            title="Qwen2-VL chat", analytics_enabled=False, delete_cache=(HOUR_S, MAX_FILE_AGE_S), fill_height=True
        )

    def launch(self, *args, **settings):
        return super().launch(*args, **{**LAUNCH, **settings})


@dataclass(frozen=True, kw_only=True)
class ChatPage:
    """One chat page: what is the same for all of its visitors, and its components.

    The same for all:
    session: answers the questions.
    examples: questions to begin with, as `chat_page.examples` returns them.
    model_line: name, precision and device of the model.
    server_id: a random name, stored with a conversation: whoever comes back with another one met another server.

    What each tab has of its own, and nobody sees:
    history: the conversation (see `chat_page.messages`). It is on the server, so that no client can hand in a forged
    one.
    tab: a TabState.
    stored: what the visitor's browser stores of the conversation (see `chat_page.browser_state`).

    What is seen, from top to bottom:
    header: the model's line, and the memory of the session's caches.
    notice: a sentence on a coloured ground, such as that the server was restarted; mostly hidden.
    chatbot: the conversation, or the examples where there is none yet.
    input: what a visitor types and uploads.
    stop, clear, save, load: the buttons below it.
    download: a button that is hidden; Save presses it when the file is there.
    go_on: another; the one that stands below a cut answer presses it.
    settings: the controls in the accordion, in the order of Settings' fields.
    cost: the line below them that predicts what the message in the input box would cost.
    """

    session: ChatSession
    examples: list[dict]
    model_line: str
    server_id: str = field(default_factory=lambda: secrets.token_hex(8))

    history: gr.State
    tab: gr.State
    stored: gr.BrowserState

    header: gr.Markdown
    notice: gr.Markdown
    chatbot: gr.Chatbot
    input: gr.MultimodalTextbox
    stop: gr.Button
    clear: gr.Button
    save: gr.Button
    load: gr.UploadButton
    download: gr.DownloadButton
    go_on: gr.Button
    settings: list[gr.components.Component]
    cost: gr.Markdown


def lay_out(model, session: ChatSession) -> ChatPage:
    """Puts the components on the `gr.Blocks` inside whose `with` this is called: Gradio shows them in the order in
    which they are made.
    """
    examples = example_questions(model)
    line = model_line(model)

    gr.Markdown("# Chat about your pictures and videos")
    header = gr.Markdown(line, elem_classes="quiet")
    if is_practice(model):
        gr.Markdown(PRACTICE, elem_classes="practice")
    notice = gr.Markdown(visible=False, elem_classes="notice")
    history = gr.State([])
    tab = gr.State(TabState())
    stored = gr.BrowserState(None, storage_key="qwen2-vl-chat", secret="the visitor's own text")
    chatbot = _chatbot(examples)
    input_box = gr.MultimodalTextbox(
        label="Input", show_label=False, placeholder="Ask about a picture…",
        file_count="multiple", submit_btn="Submit", max_plain_text_length=100_000,
    )  # fmt: skip
    with gr.Row(elem_classes="tools"):
        stop = gr.Button("Stop", size="sm")
        clear = gr.Button("Clear", size="sm")
        save = gr.Button("Save", size="sm")
        load = gr.UploadButton("Load", size="sm", file_types=[".zip"])
        download = gr.DownloadButton("Download", elem_id="download")
        go_on = gr.Button("Continue", elem_id="continue")
    with gr.Accordion("Settings", open=False):
        settings = controls(session)
        cost = gr.Markdown(NO_PICTURE, elem_classes="quiet")
    gr.Markdown(FILES, elem_classes="quiet")

    return ChatPage(
        session=session, examples=examples, model_line=line, history=history, tab=tab, stored=stored, header=header,
        notice=notice, chatbot=chatbot, input=input_box, stop=stop, clear=clear, save=save, load=load,
        download=download, go_on=go_on, settings=settings, cost=cost,
    )  # fmt: skip


def notice_update(text: str) -> dict:
    """What makes `notice` say `text`, and hides it for ""."""
    return gr.update(value=text, visible=bool(text))


def _chatbot(examples: list[dict]) -> gr.Chatbot:
    chatbot = gr.Chatbot(
        label="Conversation", show_label=False, placeholder="Add a picture or a video and ask about it, or try these:",
        examples=copy.deepcopy(examples), scale=1, min_height=340, render_markdown=False,
        latex_delimiters=LATEX_DELIMITERS, autoscroll=False,
        buttons=["copy"], editable="user", allow_file_downloads=False,
        group_consecutive_messages=False,  # Gradio cannot edit a message that shares its bubble with a picture
    )  # fmt: skip
    keep_files(chatbot, {path for example in examples for path in example["files"]})
    return chatbot
