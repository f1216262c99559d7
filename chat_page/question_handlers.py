"""What happens while a visitor types a question, and everything that leads to an answer.

Here: which component's value goes in, and which are set by what comes out. Not here: the answer itself
(`chat_page.answering`), buttons that need no model (`chat_page.button_handlers`).

A question is shown at once; then its answer waits for its turn. So each has two events: the first changes the
conversation and needs no model, the second is the same for all and answers what the conversation ends with.
"""

import html
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import gradio as gr

from adapters.open_streams import visitor_address
from chat_page.answering import is_growing, stream_conversation, with_continuation, with_question
from chat_page.layout import ChatPage, notice_update
from chat_page.messages import STOPPED, empty_input, input_of_question, joined, unusable, value_of_input
from chat_page.prefetch import TabState, prefetch, wait_for_end
from chat_page.settings import Settings, predicted_cost
from chat_page.strings import NOTICE_S, visible_error
from chat_page.theme import ARRIVED, EMPTIED, EMPTY_BOX, FILLED_AGAIN
from chat_session import ChatSession, SessionError
from session.media import kind_of

NOTHING = gr.skip()  # every output stays as it is
IMMEDIATELY = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}  # for what takes no time
# The same for what may have to tell of a problem: outside the queue, Gradio has no way to bring it to the page.
TELLING = {**IMMEDIATELY, "queue": True, "concurrency_limit": None}
MAX_PREFETCHING = 8  # tabs at a time; they take turns
MAX_PREDICTING = 4  # costs at a time; who finds no place in PREDICTING_S sees the cost of before
PREDICTING_S = 1.0
STORE_S = 1.0  # between two times that the browser stores an answer that grows
STILL_WRITING = "An answer is being written. Stop it first, with Esc."


def conversation_values(
    page: ChatPage, tab: TabState, history: list[dict], notice: str | None = None, input_value: dict | None = None
) -> dict:
    """Values for `page.conversation`; without a notice or an input_value, the last one stays. While an answer grows,
    the browser stores it now and then.
    """
    values, now = {page.history: history, page.chatbot: page.show(history)}, time.monotonic()
    if not is_growing(history) or now - tab.stored_at > STORE_S:
        values[page.stored], tab.stored_at = page.browser.to_store(history, tab.visitor), now
    if notice is not None:
        values[page.notice] = notice_update(notice)
    return values if input_value is None else values | input_values(page, tab, input_value)


def input_values(page: ChatPage, tab: TabState, value: dict) -> dict:
    """What puts `value` into the input box. The browser tells of a new text only, and later."""
    tab.in_input, tab.files_checked = value, value["files"]
    return {page.input: value, page.pages: gr.update(value=value["pages"], visible=_has_document(value))}


def _has_document(value: dict) -> bool:
    return any(kind_of(path) == "document" for path in value["files"])


def as_if_never_asked(page: ChatPage, tab: TabState, history: list[dict]) -> dict:
    """Without the question that `history` ends with. What the conversation does not have any more then, a new question
    or an edited one, is back in the input box, before what was typed since.
    """
    index, box = len(history) - 2, None
    question = input_of_question(history, index)
    if len(tab.previous) <= index or input_of_question(tab.previous, index) != question:
        box = joined(question, tab.in_input)
    return conversation_values(page, tab, tab.previous, input_value=box)


def connect_questions(page: ChatPage) -> list:
    """All that leads to an answer on the page: a new question, an old one again or edited, an example; and an answer
    that was cut and goes on.

    Returns the events that answer them, so that others can follow them.
    """

    def put(tab: TabState, history, stored, asked: Callable[[list[dict]], list[dict]], sent: dict | None = None):
        """Shows at once what `asked` makes of the conversation, where this tab has no answer on its way. Where nothing
        comes of it, what was `sent` is back in the input box, before what was typed since.
        """
        before, notice = page.browser.restored(history, stored)
        try:
            if tab.asked or (tab.answering and not wait_for_end(tab)):
                raise SessionError(STILL_WRITING)
            history = asked(before)
        except SessionError as error:
            gr.Warning(str(error), duration=NOTICE_S)
            return input_values(page, tab, joined(sent, tab.in_input)) if sent else NOTHING
        tab.previous, tab.asked = before, True
        if sent == tab.in_input:  # the browser has emptied it
            tab.in_input, tab.files_checked = empty_input(), []
        pages = gr.update(visible=_has_document(tab.in_input))
        return {**conversation_values(page, tab, history, notice), page.pages: pages}

    def ask(box: dict | None, pages: str, tab: TabState, history, stored):
        value = value_of_input(box, pages)
        tab.files_sent = value["files"]
        return put(tab, history, stored, lambda before: with_question(before, len(before), value), value)

    def again(tab: TabState, history, stored, index: int, **changed):
        def asked(before):
            return with_question(before, index, input_of_question(before, index) | changed)

        return put(tab, history, stored, asked)

    def retry(event: gr.RetryData, tab: TabState, history, stored):
        return again(tab, history, stored, event.index)

    def edit(event: gr.EditData, tab: TabState, history, stored):
        return again(tab, history, stored, event.index, text=html.unescape(event.value))

    def example(event: gr.SelectData, tab: TabState):
        return put(tab, [], None, lambda _: with_question([], 0, page.examples[event.index]))

    def go_on(tab: TabState, history, stored):
        return put(tab, history, stored, with_continuation)

    def answer(request: gr.Request, tab: TabState, history, *settings):
        asked, tab.asked = tab.asked, False
        if not asked or not history:  # it was taken back meanwhile, or cleared
            yield NOTHING  # what yields nothing at all empties its outputs
            return
        tab.answering, tab.stop_requested = True, False
        try:
            values, begun = Settings.from_controls(page.session, *settings), history[-1]["content"]
            conversations = stream_conversation(
                page.session, history, values, lambda: tab.stop_requested, visitor=tab.asks_from(request)
            )
            with closing(conversations):
                for new in conversations:
                    too_early = new[-1]["note"] == STOPPED and new[-1]["content"] == begun
                    yield as_if_never_asked(page, tab, history) if too_early else conversation_values(page, tab, new)
        except gr.Error as error:
            yield as_if_never_asked(page, tab, history)
            gr.Warning(error.message, duration=error.duration)  # an error would cover the conversation
        finally:
            tab.answering = False

    conversation = [page.tab, page.history, page.stored]
    box = [page.input, page.pages]
    submitted = page.input.submit(ask, [*box, *conversation], page.conversation, js=EMPTY_BOX, **TELLING)
    page.empty.click(None, None, box, js=EMPTIED)
    submitted.failure(None, None, box, js=FILLED_AGAIN)
    submitted.success(None, js=ARRIVED)
    puts = [
        submitted,
        page.chatbot.retry(retry, conversation, page.conversation, **TELLING),
        page.chatbot.edit(edit, conversation, page.conversation, **TELLING),
        page.chatbot.example_select(example, page.tab, page.conversation, **TELLING),
        page.go_on.click(go_on, conversation, page.conversation, **TELLING),
    ]
    shared = {
        "inputs": [page.tab, page.history, *page.settings], "outputs": page.conversation,
        "api_visibility": "private", "show_progress": "minimal", "show_progress_on": [page.chatbot],
        "trigger_mode": "multiple", **_limit(page.session),
    }  # fmt: skip
    return [event.success(answer, **shared) for event in puts]


def connect_typing(page: ChatPage) -> None:
    """What happens while a visitor types: files are looked at and encoded, and the cost is predicted."""

    predicting = threading.BoundedSemaphore(MAX_PREDICTING)

    def look(request: gr.Request, box: dict | None, pages: str, before: list[dict], tab: TabState, *settings) -> dict:
        """A file that cannot be used leaves the box at once, and why is said; the others stay. A document's pages can
        be chosen.
        """
        value, shown = value_of_input(box, pages), {}
        tab.in_input = value
        if value["files"] != tab.files_checked:
            problems = unusable(value)
            tab.files_checked = [path for path in value["files"] if path not in problems]
            if problems:
                return leave_out(problems, value)
            shown[page.pages] = gr.update(visible=_has_document(value))
        if predicting.acquire(timeout=PREDICTING_S):
            try:
                values = Settings.from_controls(page.session, *settings)
                shown[page.cost] = predicted_cost(page.session, before, value, values, tab.asks_from(request))
            finally:
                predicting.release()
        return shown or NOTHING

    def encode(
        request: gr.Request, box: dict | None, pages: str, before: list[dict], tab: TabState, *settings
    ) -> Iterator[None]:
        values = Settings.from_controls(page.session, *settings)
        yield from prefetch(page.session, value_of_input(box, pages), before, tab, values, tab.asks_from(request))

    def tell_damaged(tab: TabState) -> dict:
        """Of files that were opened now. Not an output of `encode`, which would hold the box meanwhile."""
        problems = {path: problem for path, problem in tab.damaged.items() if path in tab.in_input["files"]}
        tab.damaged = {}
        return leave_out(problems, tab.in_input) if problems else NOTHING

    def leave_out(problems: dict[str, str], value: dict) -> dict:
        """The input box without files that cannot be used, and a notice that says why."""
        files = [path for path in value["files"] if path not in problems]
        return {page.input: {**value, "files": files}, page.notice: notice_update(" ".join(problems.values()))}

    inputs = [page.input, page.pages, page.history, page.tab, *page.settings]
    *_, visual_tokens, video_frames = page.settings
    changes = [page.input.change, page.pages.blur, visual_tokens.release, video_frames.input]
    looked = [page.cost, page.pages, page.input, page.notice]
    looked_at = gr.on(changes, look, inputs, looked, trigger_mode="always_last", **IMMEDIATELY)
    # Not beside `look`: what is not known to be in the box is not wanted.
    encoded = looked_at.then(
        encode, inputs, trigger_mode="always_last", show_progress="hidden", api_visibility="private",
        concurrency_id="prefetch", concurrency_limit=MAX_PREFETCHING,
    )  # fmt: skip
    encoded.then(tell_damaged, page.tab, [page.input, page.notice], **IMMEDIATELY)


def add_endpoint(page: ChatPage) -> None:
    """The page for programs: `client.predict(message=..., api_name="/chat")`, see the README."""

    def chat(
        message, system_prompt, temperature, max_tokens, repetition_penalty, seed, visual_tokens, video_frames, pages,
        before, client: gr.Request,
    ):  # fmt: skip
        """Answer a message in the conversation of this client. The answer grows as it is written.

        message: {"text": str, "files": list of pictures, videos and documents, each from gradio_client.handle_file}.
        system_prompt: str, what the model is told before the conversation. temperature: float, 0 for the likeliest
        word every time. max_tokens: int, the longest answer. repetition_penalty: float, 1 for the model's own. seed:
        int, for the same answer again where temperature is not 0. visual_tokens: int, the most for each picture.
        video_frames: str, the most of each video: "Automatic", "Up to 8", and so on up to 256.
        pages: str, of a document, for example "3, 5-7"; "" for the first ones. Returns the answer so far, a str.
        """
        settings = Settings.from_controls(
            page.session, system_prompt, temperature, max_tokens, repetition_penalty, seed, visual_tokens, video_frames
        )
        try:
            asked = with_question(before, len(before), value_of_input(message, pages))
            for history in stream_conversation(
                page.session, asked, settings, visitor=f"{visitor_address(client.client)}/program {client.session_hash}"
            ):
                yield history, history[-1]["content"]
        except (gr.Error, SessionError) as error:
            yield before, before[-1]["content"] if before else ""  # without the question that failed
            raise visible_error(error) from error

    answer = gr.Textbox(visible=False, label="Answer")
    gr.Button(visible=False).click(
        chat, [page.input, *page.settings, page.pages, page.history], [page.history, answer], api_name="chat",
        **_limit(page.session),
    )  # fmt: skip


def _limit(session: ChatSession) -> dict:
    """For everything that runs the model: one at a time, where the session does not say that it has several."""
    return {"concurrency_limit": session.max_concurrent_answers, "concurrency_id": "model"}
