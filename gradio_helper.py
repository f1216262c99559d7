"""The chat page: `make_demo(model, processor)` returns it, `.launch()` opens it on this machine only.

Here: what a visitor sees and clicks, and what the page refuses. Not here: reading files, tokens, running the model;
that is `chat_session`. Nothing is fetched from outside, shared, or sent anywhere.

The conversation is kept on the server, one for each browser tab, so no client can hand in a forged one.
"""

import html
import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder
from gradio_client.utils import get_mimetype, is_http_url_like, traverse

from chat_session import ChatSession, MediaError, SessionError
from session.prompt import blocks

PRACTICE_BANNER = "Practice model: it knows coloured shapes only. Choose 2B for photographs."
MAX_FILES = 8  # in one message
HOUR = 3600
NOTICE_S = 20  # how long a message about a problem stays
ONE_AT_A_TIME = {"concurrency_limit": 1, "concurrency_id": "model"}  # for everything that runs the model

CSS = """
.practice { text-align: center; border-radius: 8px; padding: 8px; background: var(--color-accent-soft); }
.upload-button { width: auto !important; }
.upload-button svg { width: 20px; }
.upload-button::after { content: "Upload"; padding-left: 4px; }
.submit-button { color: white !important; background: var(--button-primary-background-fill) !important; }
.message img, .message video { max-height: 240px; }
/* Gradio's Share button under a picture would send it to a public site. */
.message-buttons { display: none !important; }
"""

# How the page is served unless `launch` is told otherwise. System fonts: Gradio's own would come from Google.
LAUNCH = {
    "server_name": "127.0.0.1",
    "share": False,  # said, because on hosted notebooks Gradio shares when it is not
    "max_file_size": "64mb",
    "height": 700,  # of the frame in a notebook
    "allowed_paths": [],
    "footer_links": ["api", "settings"],
    "run_history": False,
    "theme": gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
    "css": CSS,
}

logger = logging.getLogger(__name__)


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
    page = ChatPage(title="Qwen2-VL chat", analytics_enabled=False, delete_cache=(HOUR, 24 * HOUR), fill_height=True)
    with page:
        gr.Markdown("# Chat about your pictures and videos")
        if getattr(getattr(model, "config", None), "practice_model", False):
            gr.Markdown(PRACTICE_BANNER, elem_classes="practice")
        history = gr.State([])  # messages as ChatSession takes them
        chatbot = gr.Chatbot(
            label="Conversation", placeholder="Upload a picture or a video, then ask about it.", scale=1,
            min_height=320, render_markdown=False, latex_delimiters=[], buttons=[], allow_file_downloads=False,
        )
        box = gr.MultimodalTextbox(
            label="Input", placeholder="Ask about a picture…", file_types=["image", "video"], file_count="multiple",
            submit_btn="Submit", autofocus=True, max_plain_text_length=100_000,
        )
        with gr.Row():
            stop, clear = gr.Button("Stop", variant="stop"), gr.Button("Clear")
        _connect(session, history, chatbot, box, stop, clear)
        _add_endpoint(session, history, box)
    return page.queue(max_size=64)


def _connect(session, history, chatbot, box, stop, clear) -> None:
    def reply(message, before):
        try:
            for messages, text_left in _turn(session, message, before):
                yield messages, _shown(messages), text_left
        except gr.Error as error:  # raised, it would cover the conversation
            gr.Warning(error.message, duration=error.duration)

    answering = box.submit(
        reply, [box, history], [history, chatbot, box], api_visibility="private",
        show_progress="minimal", show_progress_on=[chatbot], **ONE_AT_A_TIME,
    )
    stop.click(None, cancels=[answering])
    gr.on(
        [clear.click, chatbot.clear], lambda: ([], [], None), outputs=[history, chatbot, box],
        cancels=[answering], queue=False, api_visibility="private",
    )


def _add_endpoint(session, history, box) -> None:
    def chat(message, before):
        """Answer `message`, text and files, in the conversation of this client. The answer grows as it is written."""
        for messages, _ in _turn(session, message, before):
            yield messages, messages[-1]["content"] if messages else ""

    answer = gr.Textbox(visible=False, label="Answer")
    gr.Button(visible=False).click(chat, [box, history], [history, answer], api_name="chat", **ONE_AT_A_TIME)


def _turn(session: ChatSession, message: dict | None, before: list[dict]) -> Iterator[tuple[list[dict], dict | None]]:
    """Yield the conversation while the answer to `message` grows, and what the input box then holds.

    Where it fails, the last thing yielded is the conversation as it was `before`, and `message` is back in the box.
    """
    try:
        history, answer = [*before, {"role": "user", "content": _blocks(message)}], ""
        yield [*history, {"role": "assistant", "content": answer}], None
        with closing(session.stream(history)) as pieces:
            for piece in pieces:
                answer += piece
                yield [*history, {"role": "assistant", "content": answer}], gr.skip()
    except Exception as error:
        yield before, message
        raise _plain(error) from error


def _plain(error: Exception) -> gr.Error:
    if isinstance(error, SessionError | MediaError):
        return gr.Error(str(error), duration=NOTICE_S, print_exception=False)
    logger.exception("the model failed", exc_info=error)
    problem = f"The model failed ({type(error).__name__}). Your message is back in the input field: please try again."
    return gr.Error(problem, duration=NOTICE_S, print_exception=False)


def _blocks(message: dict | None) -> list[dict]:
    """What the input box holds as blocks of a message: pictures and videos first, as the model was trained."""
    if message is None:
        return []
    if len(message["files"]) > MAX_FILES:
        raise SessionError(f"A message can have {MAX_FILES} files; this one has {len(message['files'])}.")
    blocks = []
    for path in message["files"]:
        # Gradio checks this too, but only for pages that it launched itself.
        if not Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
            raise SessionError("Only files that were uploaded to this page can be used.")
        kind = "video" if (get_mimetype(path) or "").startswith("video/") else "image"
        blocks.append({"type": kind, kind: path})
    if message["text"].strip():
        blocks.append({"type": "text", "text": message["text"]})
    return blocks


def _shown(history: list[dict]) -> list[dict]:
    """The conversation as the Chatbot component takes it."""
    return [{"role": message["role"], "content": [_show(block) for block in blocks(message)]} for message in history]


def _show(block: dict) -> dict:
    if block["type"] == "text":  # Chatbot takes text for HTML even where it does not render Markdown
        return {"type": "text", "text": html.escape(block["text"]) or "…"}
    return {"path": block[block["type"]]}
