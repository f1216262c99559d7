"""ChatSession: from a conversation, as plain data, to the pieces of its answer; each picture seen once, each token
read once.

Here: the path of one message, and who may compute when. Not here: what a message may hold and how it becomes tokens
(`session.prompt`), files (`session.media`), OpenVINO (`session.model`), what is kept (`session.kept`), choosing
tokens (`session.decode`), widgets and web pages.

    session = ChatSession(model, processor)
    for piece in session.stream([{"role": "user", "content": "Hello!"}]):
        print(piece, end="")

The caller passes the whole history every time. What the session remembers is a cache, never a source of truth: undo,
edit, retry, another visitor are only other lists of messages.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from session.decode import Chooser, Options, pieces, until
from session.kept import Conversations, Features
from session.media import MediaError
from session.model import Interrupted, UnsupportedModelError, VisionLanguageModel
from session.prompt import Prompt, SessionError, blocks, build_prompt, check_messages
from session.reading import Progress, Reader, Work
from session.turns import Turns

__all__ = ["Answer", "ChatSession", "MediaError", "Progress", "SessionError", "Stats", "UnsupportedModelError"]


@dataclass
class Stats:
    """What an answer took: tokens (of `visual_tokens`, `seen_tokens` were encoded anew) and seconds."""

    prompt_tokens: int = 0
    reused_tokens: int = 0
    visual_tokens: int = 0
    seen_tokens: int = 0
    answer_tokens: int = 0
    first_token_s: float = 0.0
    total_s: float = 0.0


class ChatSession:
    """Answers all conversations with one model. Several may be under way: they compute in turns, token by token.

    model: an OVModelForVisualCausalLM of Qwen2-VL or Qwen2.5-VL, best loaded with `compile=False`, because its language
    model is edited and compiled here (see `session.model`). Raises UnsupportedModelError.
    """

    open_model = VisionLanguageModel  # tests put another here

    def __init__(self, model, processor, *, max_conversations: int = 8, max_bytes: int = 2 << 30):
        """Kept are up to `max_conversations` that nobody is in right now, within `max_bytes`, and features of
        pictures within a quarter of these.
        """
        self.processor = processor
        self._defaults = model.generation_config
        self._model = self.open_model(model)
        self._reader = Reader(self._model, Features(max_bytes // 4))
        self._conversations = Conversations(self._model.new_cache, max_conversations, max_bytes)
        self._turns = Turns()
        self._asked: list[Work] = []  # of the answers under way: preparing gives way to them

    def stream(
        self, messages: list[dict], *, progress: Callable[[Progress], None] = lambda _: None, **options
    ) -> "Answer":
        """The answer to `messages` (see `session.prompt`) in pieces; a character is never cut in two.

        Nothing happens before the first piece is asked for. `options` are those of `session.decode.Options`.
        `progress` is called in the thread that asks for the first piece. Raises, there too: SessionError for messages
        that cannot be answered, MediaError for files that cannot be used, TypeError for unknown options.
        """
        return Answer(lambda answer: self._texts(answer, messages, progress, options))

    def prepare(self, messages: list[dict]) -> None:
        """Look at the pictures of `messages` and read all that is certain before the last message has its text.

        Gives way when a question comes, from whomever, and goes on when it is answered. Raises MediaError and
        SessionError as `stream` does.
        """
        *before, last = messages
        media = [block for block in blocks(last) if block["type"] != "text"]
        prompt = build_prompt(self.processor, [*before, {"role": last["role"], "content": media}])
        self._check_length(prompt, 0)
        end = self.processor.tokenizer.eos_token_id  # of the last message: all before it is certain
        certain = len(prompt.ids) - 1 - prompt.ids[::-1].index(end) if end in prompt.ids else 0
        work, done = Work(prompt, self._model), False
        while not done:
            while self._asked:
                time.sleep(0.02)
            done = self._prepare_more(work, certain)

    def memory(self) -> dict[str, int]:
        """Bytes kept for later. Conversations count as float32: an upper bound, OpenVINO's KV cache has 8 bits."""
        return {"features": self._reader.features.bytes, "conversations": self._conversations.bytes}

    def _texts(self, answer: "Answer", messages: list[dict], progress, given: dict) -> Iterator[str]:
        check_messages(messages)
        options = Options.merged(self._defaults, given)
        prompt = build_prompt(self.processor, messages)
        self._check_length(prompt, options.max_new_tokens)
        work = Work(prompt, self._model)
        answer.stats.prompt_tokens = len(work)
        answer.stats.visual_tokens = sum(block.tokens for _, block in work.blocks)
        tokens = self._tokens(answer, work, options, progress)
        self._asked.append(work)
        try:
            yield from until(options.stop, pieces(tokens, self.processor.tokenizer))
        except Interrupted:
            return  # whoever closed the answer does not want to hear about it
        finally:
            tokens.close()
            self._asked.remove(work)

    def _tokens(self, answer: "Answer", work: Work, options: Options, progress) -> Iterator[int]:
        """Read the prompt, then write: token by token, until one of those that end an answer."""
        stats, chooser, ids = answer.stats, Chooser(options, len(work)), list(work.prompt.ids)
        with self._turn(answer.wanted):
            conversation = self._conversations.take(work.keys)
        stats.reused_tokens = len(conversation.keys)
        try:
            logits = None
            while len(conversation.keys) < len(work):
                with self._turn(answer.wanted):
                    before = self._reader.seen_tokens
                    logits = self._reader.read_on(conversation, work, len(work), progress)
                    stats.seen_tokens += self._reader.seen_tokens - before
            for number in range(options.max_new_tokens):
                if number:
                    with self._turn(answer.wanted):
                        place = np.full((3, 1), work.next_place + number - 1)
                        logits = conversation.cache.read(self._model.embed(ids[-1:]), place)
                    conversation.keys.append(ids[-1])
                ids.append(chooser.choose(ids, logits))
                stats.first_token_s = stats.first_token_s or time.perf_counter() - answer.began
                stats.answer_tokens += 1
                if ids[-1] in options.ends:
                    return
                yield ids[-1]
        finally:
            with self._turns.turn(lambda: True):
                self._conversations.give_back(conversation)

    def _prepare_more(self, work: Work, certain: int) -> bool:
        """Read all that is certain, unless somebody asks; whether that is done."""

        def unhindered() -> bool:
            """Nobody asks, or all who do need just what is being done."""
            at = self._reader.looking_at
            return all(at in {b.digest for _, b in asked.blocks} for asked in tuple(self._asked))

        with contextlib.suppress(Interrupted), self._turn(unhindered):
            conversation = self._conversations.take(work.keys[: certain + 1])
            try:
                while len(conversation.keys) < certain:
                    self._reader.read_on(conversation, work, certain)
                return True
            finally:
                self._conversations.give_back(conversation)
        return False

    @contextlib.contextmanager
    def _turn(self, wanted: Callable[[], bool]) -> Iterator[None]:
        """Inside, the model is ours, and what it computes is interrupted when it is no longer `wanted`."""
        with self._turns.turn(wanted):
            self._model.wanted = wanted
            yield

    def _check_length(self, prompt: Prompt, new_tokens: int) -> None:
        if len(prompt.ids) + new_tokens > self._model.window:
            raise SessionError(
                f"This conversation is too long: {len(prompt.ids)} tokens and up to {new_tokens} for the answer, "
                f"but the model reads {self._model.window}. Start a new one, or use fewer or smaller pictures."
            )


class Answer(Iterator[str]):
    """The pieces of one answer. `stats` is complete when it ends.

    Closing it, or dropping it, stops the model within a token; when `close()` returns, nothing runs any more. Unlike
    a generator it can be closed from another thread while a piece is waited for.
    """

    def __init__(self, texts: Callable[["Answer"], Iterator[str]]):
        self.stats = Stats()
        self._closed, self._running = threading.Event(), threading.Lock()
        self._texts = texts(self)
        self.began = 0.0

    def __next__(self) -> str:
        with self._running:
            self.began = self.began or time.perf_counter()
            try:
                return next(self._texts)
            finally:
                self.stats.total_s = time.perf_counter() - self.began

    def close(self) -> None:
        self._closed.set()
        with self._running:
            self._texts.close()

    def wanted(self) -> bool:
        return not self._closed.is_set()
