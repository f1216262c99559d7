"""What is on the page, from top to bottom.

Here: the components, and what is the same for all visitors of a page. Not here: what happens when a visitor does
something (`chat_page.question_handlers`, `chat_page.button_handlers`), how it looks (`chat_page.theme`).
"""

import copy
from dataclasses import dataclass, field
from html import escape

import gradio as gr

from adapters.gradio_internals import keep_files, track_files
from adapters.guarded_blocks import GuardedBlocks
from adapters.loopback import LOOPBACK
from adapters.uploads import delete_old, use_own_folder
from chat_page.browser_state import BrowserStore
from chat_page.examples import example_questions
from chat_page.header import PRACTICE, is_practice, model_line
from chat_page.markdown import LATEX_DELIMITERS
from chat_page.prefetch import TabState
from chat_page.render import files_shown, render_history
from chat_page.settings import NO_PICTURE, controls
from chat_page.theme import (
    HOUR_S,
    LAUNCH,
    MAX_FILE_AGE_S,
    MAX_FILE_MB,
    MAX_STRANGERS_FILE_MB,
    STORED_IN_TAB,
    limits,
)  # fmt: skip
from chat_session import ChatSession
from session.documents import MAX_PAGES

HEADER = """<h1>Chat about pictures</h1><p class="quiet">{}</p>
<button popovertarget="about">About</button><button popovertarget="settings">Settings</button>"""
HIDDEN = ("undo-clear", "empty", "continue")  # buttons
FILES = "Files that you add stay on the machine that serves this page. They are deleted there after a day."
FROM_PROGRAMS = "Programs use this page, too: the tutorial's `docs/api.md` says how."


class ChatBlocks(GuardedBlocks):
    """Gradio's page with our LAUNCH settings for defaults, guarded against strangers."""

    def __init__(self):
        use_own_folder()
        super().__init__(
            title="Qwen2-VL chat", analytics_enabled=False, delete_cache=(HOUR_S, MAX_FILE_AGE_S), fill_height=True
        )

    def launch(self, *args, **settings):
        delete_old(MAX_FILE_AGE_S)  # of a page that crashed
        settings = {**LAUNCH, **settings}
        largest_mb = MAX_FILE_MB if settings["server_name"] in LOOPBACK else MAX_STRANGERS_FILE_MB
        return super().launch(*args, **{**limits(largest_mb), **settings})


@dataclass(frozen=True, kw_only=True)
class ChatPage:
    """One chat page: what is the same for all of its visitors, and its components.

    The same for all:
    session: answers the questions.
    examples: questions to begin with, as `chat_page.examples` returns them.
    browser: what is stored in browsers, and what of it is believed.

    What each tab has of its own, and nobody sees:
    history: the conversation (see `chat_page.messages`). It is on the server, so that no client can hand in a forged
    one.
    tab: a TabState.
    stored: what the visitor's browser stores of the conversation, for each tab (see `page_head.js`).

    What is seen, from top to bottom:
    settings: the controls in the panel, in the order of Settings' fields.
    cost, cache: lines below them, that predict what the message in the input box would cost, and say what is kept.
    notice: a sentence on a coloured ground, such as that the server was restarted; mostly hidden.
    chatbot: the conversation, or the examples where there is none yet.
    pages: which pages of a document are read; shown while one is in the input box.
    input: what a visitor types and uploads; sends and stops.
    clear, save, save_text, load: the buttons below it.
    undo_clear, empty, download, go_on: buttons that are hidden: the page's scripts press them.
    """

    session: ChatSession
    examples: list[dict]
    browser: BrowserStore = field(default_factory=BrowserStore)

    history: gr.State
    tab: gr.State
    stored: gr.BrowserState

    settings: list[gr.components.Component]
    cost: gr.Markdown
    cache: gr.Markdown
    notice: gr.Markdown
    chatbot: gr.Chatbot
    pages: gr.Textbox
    input: gr.MultimodalTextbox
    clear: gr.Button
    save: gr.Button
    save_text: gr.Button
    load: gr.UploadButton
    undo_clear: gr.Button
    empty: gr.Button
    download: gr.DownloadButton
    go_on: gr.Button

    @property
    def conversation(self) -> list:
        """Outputs of everything that changes the conversation."""
        return [self.history, self.chatbot, self.input, self.pages, self.stored, self.notice]

    def show(self, history: list[dict]) -> list[dict]:
        """What the Chatbot takes. Gradio deletes after a day what is in it, too."""
        track_files(self.chatbot, files_shown(history))
        return render_history(history)


def lay_out(model, session: ChatSession) -> ChatPage:
    """Puts the components on the `gr.Blocks` inside whose `with` this is called: Gradio shows them in the order in
    which they are made.
    """
    examples = example_questions(model)
    practice = f"{PRACTICE}\n\n" if is_practice(model) else ""

    history = gr.State([])
    tab = gr.State(TabState())
    stored = gr.BrowserState(None, storage_key=STORED_IN_TAB, secret="the visitor's own text")
    gr.HTML(HEADER.format(escape(model_line(model))), elem_id="header")
    with gr.Column(elem_id="about"):
        gr.Markdown(f"{practice}{FILES}\n\n{FROM_PROGRAMS}")
    with gr.Column(elem_id="settings"):
        settings = controls(session)
        cost = gr.Markdown(NO_PICTURE, elem_classes="quiet")
        cache = gr.Markdown(elem_classes="quiet")
    notice = gr.Markdown(visible=False, elem_classes="notice")
    chatbot = _chatbot(examples, practice)
    pages = gr.Textbox(
        value="", label="Pages", show_label=False, container=False, visible=False, max_length=100, elem_id="pages",
        placeholder=f"Pages, such as 3, 5-7; else the first {MAX_PAGES}",
    )  # fmt: skip
    input_box = gr.MultimodalTextbox(
        label="Input", show_label=False, placeholder="Ask about a picture…", file_count="multiple", submit_btn="Submit",
        stop_btn="Stop", max_plain_text_length=100_000, autofocus=True, elem_id="question",
    )  # fmt: skip
    with gr.Row(elem_id="tools"):
        clear = gr.Button("Clear", size="sm")
        save = gr.Button("Save conversation", size="sm")
        save_text = gr.Button("Save as Markdown", size="sm")
        load = gr.UploadButton("Open conversation…", size="sm", file_types=[".zip"])
        hidden = (gr.Button(name, elem_id=name, elem_classes="hidden-button") for name in HIDDEN)
        download = gr.DownloadButton("Download", elem_id="download", elem_classes="hidden-button")

    return ChatPage(
        session=session, examples=examples, history=history, tab=tab, stored=stored, settings=settings,
        cost=cost, cache=cache, notice=notice, chatbot=chatbot, pages=pages, input=input_box,
        clear=clear, save=save, save_text=save_text, load=load, download=download,
        **dict(zip(("undo_clear", "empty", "go_on"), hidden, strict=True)),
    )  # fmt: skip


def notice_update(text: str) -> dict:
    """What makes `notice` say `text`, and hides it for ""."""
    return gr.update(value=text, visible=bool(text))


def _chatbot(examples: list[dict], practice: str) -> gr.Chatbot:
    chatbot = gr.Chatbot(
        label="Conversation", show_label=False, elem_id="conversation", scale=1, min_height=0,
        placeholder=f"{practice}Add a picture, a video or a document and ask about it, or try one of these:",
        examples=copy.deepcopy(examples), render_markdown=False,
        latex_delimiters=LATEX_DELIMITERS, autoscroll=False,
        buttons=["copy"], editable="user", allow_file_downloads=False,
        group_consecutive_messages=False,  # Gradio cannot edit a message that shares its bubble with a picture
    )  # fmt: skip
    keep_files(chatbot, {path for example in examples for path in example["files"]})
    return chatbot
