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
import time
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from session.answer import Answer, Run, Stats
from session.decode import Options, pieces, until
from session.kept import Conversation, Conversations
from session.media import MediaError
from session.model import FEW, UnsupportedModelError, VisionLanguageModel
from session.patches import Patches
from session.prompt import Prompt, SessionError, blocks, build_prompt, check_messages, check_parts
from session.reading import Estimate, Progress, Reader, Work
from session.recent import Recent
from session.turns import Interrupted, Turns
from session.writing import Writing

__all__ = [
    "Answer",
    "ChatSession",
    "Estimate",
    "MediaError",
    "Progress",
    "SessionError",
    "Stats",
    "UnsupportedModelError",
]

QUIET = 0.3  # seconds without an answer computing, after which preparing goes on


class ChatSession:
    """Answers all conversations with one model. Several may be under way: they compute in turns, a picture, a chunk of
    the prompt or a token at a time.

    model: an OVModelForVisualCausalLM of Qwen2-VL or Qwen2.5-VL, best loaded with `compile=False`, because its language
    model is edited and compiled here (see `session.model`). Raises UnsupportedModelError.
    """

    open_model = VisionLanguageModel  # tests put another here
    at_once = 1  # answers that a page should ask for at a time: more would only be slower together

    def __init__(
        self, model, processor, *, max_conversations: int = 8, max_bytes: int = 2 << 30, guesses: int = FEW - 1
    ):
        """Kept are up to `max_conversations` that nobody is in right now, within `max_bytes`, features of pictures
        within a quarter of these, and patches within an eighth. Conversations that somebody is in are not bounded here.
        guesses: see `session.writing`; at most FEW - 1, and with 0 it writes token by token.
        """
        self.processor = processor
        self._defaults, self._guesses = model.generation_config, min(guesses, FEW - 1)
        self._model = self.open_model(model)
        self._reader = Reader(self._model, Recent(max_bytes // 4))
        self._patches = Patches(processor, max_bytes // 8)
        self._conversations = Conversations(self._model.new_cache, max_conversations, max_bytes)
        self._left: deque[Conversation] = deque()  # by answers that ended: into `_conversations` at the next turn
        self._turns = Turns()
        self._asked: list[Work] = []  # what answers compute, or wait to compute: preparing gives way to it
        self._last_asked = 0.0

    def stream(
        self,
        messages: list[dict],
        *,
        progress: Callable[[Progress], None] = lambda _: None,
        max_visual_tokens: int | None = None,
        **options,
    ) -> Answer:
        """The answer to `messages` (see `session.prompt`) in pieces; a character is never cut in two.

        Nothing happens before the first piece is asked for. `options` are those of `session.decode.Options`,
        `max_visual_tokens` is for each picture (see `session.patches`). `progress` is called in the thread that asks
        for the first piece, while nobody else can compute: it has to be quick. Raises, there too: SessionError for
        messages that cannot be answered, MediaError for files that cannot be used, TypeError for unknown options.
        """
        run = Run()
        return Answer(run, self._texts(run, messages, progress, max_visual_tokens, options))

    def prepare(
        self,
        messages: list[dict],
        *,
        wanted: Callable[[], bool] = lambda: True,
        max_visual_tokens: int | None = None,
    ) -> None:
        """Look at the pictures of `messages` and read all that is certain before the last message has its text.

        Gives way when a question comes, from whomever, and goes on when it is answered; ends early when it is not
        `wanted` any more. Raises MediaError and SessionError as `stream` does.
        """
        check_parts(messages)
        *before, last = messages
        media = [block for block in blocks(last) if block["type"] != "text"]
        prompt = self._prompt([*before, {"role": last["role"], "content": media}], max_visual_tokens)
        end = self.processor.tokenizer.eos_token_id  # of the last message: all before it is certain
        certain = len(prompt.ids) - 1 - prompt.ids[::-1].index(end) if end in prompt.ids else 0
        work, done = Work(prompt, self._model), False
        while not done and wanted():
            if self._asked or time.monotonic() - self._last_asked < QUIET:
                time.sleep(0.02)
            else:
                done = self._prepare_more(work, certain, wanted)

    def warm_up(self) -> None:
        """Look at something and read it: OpenVINO arranges its weights at the first inference, for seconds."""
        self.prepare([{"role": "user", "content": [{"type": "image", "image": Image.new("RGB", (64, 64))}]}])

    def estimate(self, messages: list[dict], *, max_visual_tokens: int | None = None) -> Estimate:
        """What it would take to answer `messages` if nothing of them were known. Opens their files, computes nothing.

        Raises MediaError and SessionError as `stream` does, but the last message may be empty as yet.
        """
        check_parts(messages)
        prompt = self._prompt(messages, max_visual_tokens)
        seen = sum(medium.tokens for medium in prompt.media)
        return Estimate(len(prompt.ids), seen, self._reader.pace.seconds(seen, len(prompt.ids)))

    @property
    def budgets(self) -> tuple[int, int]:
        """The fewest and the most visual tokens that a picture gets if `max_visual_tokens` is not given."""
        return self._patches.budgets

    def memory(self) -> dict[str, int]:
        """Bytes kept for later. Conversations count as float32: an upper bound, OpenVINO's KV cache has 8 bits."""
        with self._turns.turn(lambda: True):
            kept = {"features": self._reader.features.bytes, "conversations": self._settled().bytes}
        return kept | {"patches": self._patches.bytes}

    def _texts(self, run: Run, messages: list[dict], progress, budget: int | None, given: dict) -> Iterator[str]:
        check_messages(messages)
        options = Options.merged(self._defaults, given)
        work = Work(self._prompt(messages, budget, options.max_new_tokens), self._model)
        run.stats.prompt_tokens = len(work)
        run.stats.visual_tokens = sum(block.tokens for _, block in work.blocks)
        tokens = self._tokens(run, work, options, progress)
        # Interrupted: whoever stopped the answer does not want to hear about it.
        with contextlib.closing(tokens), contextlib.suppress(Interrupted):
            if (yield from until(options.stops, pieces(tokens, self.processor.tokenizer))):
                run.stats.finished = True

    def _tokens(self, run: Run, work: Work, options: Options, progress) -> Iterator[int]:
        """Read the prompt, then write: token by token, until one of those that end an answer."""
        stats, writing, conversation = run.stats, Writing(options, work.prompt.ids, self._guesses), None
        try:
            with self._turn(run.wanted, work):
                conversation = self._settled().take(work.keys)
            stats.reused_tokens = len(conversation.keys)
            new = writing.choose(self._read(run, conversation, work, progress), [])
            while True:
                stats.first_token_s = stats.first_token_s or time.perf_counter() - run.began
                for token in new:
                    stats.answer_tokens += 1
                    if token not in options.ends:
                        yield token
                if writing.done:
                    stats.finished = writing.ended
                    return
                new = self._write_on(run, conversation, work, writing)
        finally:
            if conversation:  # without a turn: the garbage collector may bring us here in the middle of another's
                self._left.append(conversation)

    def _write_on(self, run: Run, conversation: Conversation, work: Work, writing: Writing) -> list[int]:
        """Read the latest token, and what may follow it; the tokens after it."""
        guess = writing.guess()
        read = [writing.ids[-1], *guess]
        place = work.next_place + len(conversation.keys) - len(work)
        with self._turn(run.wanted, work):
            places = np.tile(np.arange(place, place + len(read)), (3, 1))
            logits = conversation.cache.read(self._model.embed(read), places)
        new = writing.choose(logits, guess)
        conversation.cache.forget(len(read) - len(new))  # guesses that do not stand
        conversation.keys += read[: len(new)]
        run.stats.steps[len(read)] = run.stats.steps.get(len(read), 0) + 1
        return new

    def _read(self, run: Run, conversation: Conversation, work: Work, progress):
        """Logits (1, vocabulary) of the prompt's last token. Others have their turn after every picture and every chunk
        of text.
        """
        unseen = self._reader.unseen(conversation, work)
        for done, (number, block) in enumerate(unseen):
            with self._turn(run.wanted, work):
                left = sum(block.tokens for _, block in unseen[done:]), len(work) - len(conversation.keys)
                progress(Progress("looking", number, len(work.blocks), self._reader.pace.seconds(*left)))
                self._reader.look(block)
                run.stats.seen_tokens += block.tokens
        while len(conversation.keys) < len(work):
            with self._turn(run.wanted, work):
                logits = self._reader.read_on(conversation, work, len(work), progress)
        return logits[-1:]

    def _prepare_more(self, work: Work, certain: int, wanted: Callable[[], bool]) -> bool:
        """Read all that is certain, unless somebody asks; whether that is done."""

        def unhindered() -> bool:
            """Still wanted, and nobody asks, or all who do need just what is being done."""
            at = self._reader.looking_at
            return wanted() and all(at in {b.digest for _, b in asked.blocks} for asked in tuple(self._asked))

        with contextlib.suppress(Interrupted), self._turn(unhindered):
            if self._settled().known(work.keys[:certain]) == certain:
                return True
            conversation = self._conversations.take(work.keys[: certain + 1])
            try:
                while len(conversation.keys) < certain:
                    self._reader.read_on(conversation, work, certain)
                return True
            finally:
                self._conversations.give_back(conversation)
        return False

    @contextlib.contextmanager
    def _turn(self, wanted: Callable[[], bool], work: Work | None = None) -> Iterator[None]:
        """Inside, the model is ours, and what it computes is interrupted when it is no longer `wanted`.

        work: of an answer, to which preparing gives way.
        """
        try:
            if work:
                self._asked.append(work)
            with self._turns.turn(wanted):
                self._model.wanted = wanted
                try:
                    yield
                finally:
                    self._model.wanted = lambda: True
        finally:
            if work:
                self._last_asked = time.monotonic()
                with contextlib.suppress(ValueError):  # Ctrl-C may have come before it was there
                    self._asked.remove(work)

    def _settled(self) -> Conversations:
        """The idle conversations, with those that answers have left since. Only in one's turn."""
        while self._left:
            self._conversations.give_back(self._left.popleft())
        return self._conversations

    def _prompt(self, messages: list[dict], max_visual_tokens: int | None, new_tokens: int = 0) -> Prompt:
        prompt = build_prompt(self.processor, messages, self._patches, max_visual_tokens)
        if len(prompt.ids) + new_tokens > self._model.window:
            raise SessionError(
                f"This conversation is too long: {len(prompt.ids)} tokens and up to {new_tokens} for the answer, "
                f"but the model reads {self._model.window}. Start a new one, or use fewer or smaller pictures."
            )
        return prompt
