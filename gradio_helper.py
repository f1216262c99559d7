"""The chat page: `make_demo(model, processor)` returns it, `.launch()` opens it on this machine only.

Here: what a visitor sees and clicks, and what the page refuses. Not here: reading files, tokens, running the model;
that is `chat_session`. Nothing is fetched from outside, shared, or sent anywhere.

The conversation is kept on the server, one for each browser tab, so no client can hand in a forged one.
"""

import html
import logging
import queue
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder
from gradio_client.utils import get_mimetype, is_http_url_like, traverse

from chat_session import Answer, ChatSession, MediaError, Progress, SessionError, Stats
from session.prompt import blocks

PRACTICE_BANNER = "Practice model: it knows coloured shapes only. Choose 2B for photographs."
MAX_FILES = 8  # in one message
HOUR = 3600
PATIENCE_S = 0.5  # between two looks whether the visitor pressed Stop
NOTICE_S = 20  # how long a message about a problem stays
ONE_AT_A_TIME = {"concurrency_limit": 1, "concurrency_id": "model"}  # for everything that runs the model

CSS = """
.practice { text-align: center; border-radius: 8px; padding: 8px; background: var(--color-accent-soft); }
.upload-button { width: auto !important; }
.upload-button svg { width: 20px; }
.upload-button::after { content: "Upload"; padding-left: 4px; }
.submit-button { color: white !important; background: var(--button-primary-background-fill) !important; }
.message img, .message video { max-height: 240px; }
.message small { display: block; opacity: 0.7; }
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
        history = gr.State([])  # messages as ChatSession takes them; answers have a "note" that only the page shows
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
    looked_at = gr.State([])  # files that the session was shown before the question

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
    box.change(
        lambda *now: _look_ahead(session, *now), [box, history, looked_at], looked_at,
        trigger_mode="always_last", show_progress="hidden", api_visibility="private", concurrency_id="look ahead",
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
        history = [*before, {"role": "user", "content": _blocks(message)}]
        yield [*history, _answer("", "…")], None
        with closing(_events(session, history)) as events:
            for text, note in events:
                yield [*history, _answer(text, note)], gr.skip()
    except Exception as error:
        yield before, message
        raise _plain(error) from error


def _answer(text: str, note: str) -> dict:
    return {"role": "assistant", "content": text, "note": note}


def _events(session: ChatSession, history: list[dict]) -> Iterator[tuple[str, str]]:
    """(answer so far, what to say about it): what the session does, then text as it comes, at the end what it took.

    The session works in a thread of its own, because it tells its progress before it has a piece to give.
    """
    events: queue.SimpleQueue = queue.SimpleQueue()
    answer = session.stream(history, progress=events.put)
    threading.Thread(target=_pump, args=(answer, events), daemon=True).start()
    text = note = ""
    try:
        while not isinstance(event := _next(events), Stats):
            if isinstance(event, BaseException):
                raise event
            if isinstance(event, str):
                text, note = text + event, ""
            elif event:
                note = _doing(event)
            yield text, note
        yield text, _took(event)
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


def _next(events: queue.SimpleQueue) -> str | Progress | Stats | BaseException | None:
    """None where nothing happens for a while: Gradio can only stop a generator that yields."""
    try:
        return events.get(timeout=PATIENCE_S)
    except queue.Empty:
        return None


def _doing(progress: Progress) -> str:
    if progress.doing == "looking":
        return f"Looking at picture {progress.done + 1} of {progress.total} …"
    return f"Reading {progress.done} of {progress.total} tokens …"


def _took(stats: Stats) -> str:
    """One quiet line: what an answer cost, and what was spared."""
    seconds = stats.total_s - stats.first_token_s
    speed = f", then {(stats.answer_tokens - 1) / seconds:.0f} tokens/s" if stats.answer_tokens > 1 and seconds else ""
    seen = f" {stats.seen_tokens} of {stats.visual_tokens} visual tokens seen anew." if stats.visual_tokens else ""
    known = f" {stats.reused_tokens} of {stats.prompt_tokens} tokens known before."
    return f"First word after {stats.first_token_s:.1f} s{speed}.{seen}{known}"


def _look_ahead(session: ChatSession, message: dict | None, before: list[dict], looked_at: list[str]) -> list[str]:
    """See what was uploaded, while the visitor still types. What is wrong with it is said when it is asked about."""
    files = message["files"] if message else []
    if files and files != looked_at:
        try:
            session.prepare([*before, {"role": "user", "content": _blocks(message)}])
        except (SessionError, MediaError) as error:
            logger.info("not looked at before the question: %s", error)
        except Exception as error:
            logger.exception("looking ahead failed", exc_info=error)
    return files


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
    """The conversation as the Chatbot component takes it, with the notes under the answers."""
    return [
        {"role": message["role"], "content": [_show(block, message.get("note", "")) for block in blocks(message)]}
        for message in history
    ]


def _show(block: dict, note: str) -> dict:
    if block["type"] == "text":  # Chatbot takes text for HTML even where it does not render Markdown
        small = f"<small>{html.escape(note)}</small>" if note else ""
        return {"type": "text", "text": f"<span>{html.escape(block['text'])}</span>{small}"}
    return {"path": block[block["type"]]}
