"""ChatSession: from a conversation, as plain data, to the pieces of its answer.

Here: running the model, streaming, stopping. Not here: what a message may hold and how it becomes tokens
(`session.prompt`), files (`session.media`), widgets and web pages.

    session = ChatSession(model, processor)
    for piece in session.stream([{"role": "user", "content": "Hello!"}]):
        print(piece, end="")

The caller passes the whole history every time: the session remembers nothing of a conversation.
"""

import queue
import threading
from collections.abc import Iterable, Iterator

import torch
from transformers import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from session.media import MediaError
from session.prompt import SessionError, build_inputs, check_messages

__all__ = ["ChatSession", "MediaError", "SessionError"]

_END = object()


class ChatSession:
    """Answers conversations with one model, one at a time: others wait for their turn."""

    def __init__(self, model, processor):
        self.model = model
        self.processor = processor
        self._turn = threading.Lock()

    def stream(self, messages: list[dict], *, max_new_tokens: int = 256, **generation) -> Iterator[str]:
        """Yield the answer to `messages` (see `session.prompt`) in pieces; a character is never cut in two.

        `generation` goes to `model.generate` as it is. Closing the generator stops the model within a token; when
        `close()` returns, or an exception leaves here, nothing runs any more. Raises SessionError for messages that
        cannot be answered, MediaError for files that cannot be used, and whatever the model raises.
        """
        check_messages(messages)
        run = _Run()
        options = {"max_new_tokens": max_new_tokens, **generation}
        worker = threading.Thread(target=self._work, args=(run, messages, options), name="chat-session", daemon=True)
        worker.start()
        try:
            yield from _join(run.tokens(), self.processor.tokenizer)
        finally:
            run.stopped.set()
            worker.join()

    def _work(self, run: "_Run", messages: list[dict], options: dict) -> None:
        """Generate in a thread of its own; what happens here, errors too, reaches the caller through `run`."""
        try:
            while not self._turn.acquire(timeout=0.1):
                if run.stopped.is_set():
                    return
            try:
                self._generate(run, messages, options)
            finally:
                self._turn.release()
        except BaseException as error:  # it is raised again where the caller can see it
            run.pieces.put(error)
        finally:
            run.pieces.put(_END)

    def _generate(self, run: "_Run", messages: list[dict], options: dict) -> None:
        inputs = build_inputs(self.processor, messages)
        length, window = inputs["input_ids"].shape[1], self.model.config.get_text_config().max_position_embeddings
        if length + options["max_new_tokens"] > window:
            raise SessionError(
                f"This conversation is too long: {length} tokens and up to {options['max_new_tokens']} for the answer, "
                f"but the model reads {window}. Start a new one, or use fewer or smaller pictures."
            )
        self.model.generate(**inputs, **options, streamer=run, stopping_criteria=StoppingCriteriaList([run]))


class _Run(BaseStreamer, StoppingCriteria):
    """The thread between `generate` and one caller: token ids go out, the wish to stop comes in."""

    def __init__(self):
        self.pieces = queue.SimpleQueue()  # token ids, or one exception; then _END
        self.stopped = threading.Event()
        self._prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        if self._prompt_seen:
            self.pieces.put(int(value))
        self._prompt_seen = True  # `generate` streams the prompt first

    def end(self) -> None:
        """The worker says when it ends, with or without an error."""

    def __call__(self, input_ids: torch.Tensor, scores, **kwargs) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self.stopped.is_set(), device=input_ids.device)

    def tokens(self) -> Iterator[int]:
        while (item := self.pieces.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item


def _join(tokens: Iterable[int], tokenizer) -> Iterator[str]:
    """Text of `tokens`, without control tokens. A character may take several tokens: it waits for the last of them."""
    pending = []
    for token in tokens:
        pending.append(token)
        text = tokenizer.decode(pending, skip_special_tokens=True)
        if text and not text.endswith("\N{REPLACEMENT CHARACTER}"):
            yield text
            pending = []
    if text := tokenizer.decode(pending, skip_special_tokens=True):
        yield text
