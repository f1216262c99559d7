"""ChatSession: from a conversation, as plain data, to the pieces of its answer.

Each picture is encoded once, each token prefilled once.

    session = ChatSession(model, processor)
    for piece in session.stream([{"role": "user", "content": "Hello!"}]):
        print(piece, end="")

Here: the path of one message, stage by stage; each stage is a file in `session/`. Not here: widgets and web pages.

The caller passes the whole history every time. What the session keeps is a cache, never a source of truth: undo, edit,
retry, another visitor are only other lists of messages.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain

import numpy as np
from PIL import Image

from session.answer import Answer, AnswerState, Interrupted, Request, Stats
from session.caches import CachedPrefix, LRUCache, PrefixCache
from session.continuation import WrittenAnswers, split_final
from session.decode import LENGTH, STOP, DraftDecoder, text_pieces, until_stop
from session.media import MediaError
from session.ov_model import MAX_LOGIT_ROWS, UnsupportedModelError, VisionLanguageModel
from session.prefill import ENCODING, Estimate, Prefiller, PrefillPlan, Progress, certain_tokens
from session.prompt import (
    Prompt,
    SessionError,
    build_prompt,
    check_messages,
    check_question,
    content_parts,
    count_visual_tokens,
    outline_prompt,
)  # fmt: skip
from session.sampling import SamplingParams
from session.scheduler import Scheduler, Turn, group_of
from session.structured import JsonSchemas
from session.vision_inputs import MediaProcessor

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

POLL_S = 0.02  # between two checks whether preparing may go on


class ChatSession:
    """Answers all conversations with one model. Several may be under way: they compute in turns, a picture, a chunk of
    the prompt or a token at a time.

    model: an OVModelForVisualCausalLM of Qwen2-VL, Qwen2.5-VL or Qwen3-VL, best loaded with `compile=False`, because
    its language model is edited and compiled here (see `session.ov_model`). Raises UnsupportedModelError.
    """

    model_class = VisionLanguageModel  # tests put another here
    max_concurrent_answers = 1  # how many a page should ask for at once: more would only slow each other down

    def __init__(
        self,
        model,
        processor,
        *,
        max_cached_prefixes: int = 8,
        max_bytes: int = 2 << 30,
        max_draft_tokens: int = MAX_LOGIT_ROWS - 1,
        shared_cache: bool = False,
    ):
        """max_cached_prefixes: KV caches that are kept while no answer uses them, within `max_bytes`; features of
        pictures are kept within a quarter of these bytes, and patches within an eighth. The KV caches of answers under
        way are not bounded here. max_draft_tokens: see `session.decode`; at most MAX_LOGIT_ROWS - 1, and with 0 each
        step gives one token. shared_cache: what is kept serves everybody, and its counts (`Stats`) tell one visitor
        what another asked; without, it serves the `visitor` it was computed for.
        """
        self.processor = processor
        self._generation_config = model.generation_config
        self._max_draft_tokens = min(max_draft_tokens, MAX_LOGIT_ROWS - 1)
        self._model = self.model_class(model)
        self._media = MediaProcessor(processor, max_bytes // 8)
        self._prefiller = Prefiller(self._model, LRUCache(max_bytes // 4))
        self._prefixes = PrefixCache(self._model.new_cache, max_cached_prefixes, max_bytes)
        self._written = WrittenAnswers()
        self._schemas = JsonSchemas(processor.tokenizer)
        self._shared_cache = shared_cache
        self._scheduler = Scheduler(self._model)

    def stream(
        self,
        messages: list[dict],
        *,
        progress: Callable[[Progress], None] = lambda _: None,
        max_visual_tokens: int | None = None,
        visitor: str = "",
        json_schema: dict | bool | None = None,
        continue_final_message: bool = False,
        **options,
    ) -> Answer:
        """The answer to `messages` (see `session.prompt`) in pieces; a character is never cut in two.

        Nothing happens before the first piece is asked for. `options` are those of `session.sampling.SamplingParams`,
        `max_visual_tokens` is for each picture (see `session.vision_inputs`). `visitor` names who asks: visitors get
        equal shares of the time, and see nothing of each other; those whose names have the same beginning before a "/"
        have one share together. With a `json_schema`, or True for any object, the answer is JSON of that schema (see
        `session.structured`). With `continue_final_message` the last message is an answer, and goes on where it ends.
        `progress` is called in the thread that asks for the first piece, while nobody else can compute: it has to be
        quick, and cannot ask the session for anything (RuntimeError).

        Raises, there too: SessionError for messages and options that cannot be answered, MediaError for files that
        cannot be used, TypeError for unknown options.
        """
        request = Request(
            messages, self._owner(visitor), max_visual_tokens, json_schema, continue_final_message, options
        )
        state = AnswerState(group_of(visitor))
        return Answer(state, self._wanted_texts(state, request, progress))

    def prepare(
        self,
        messages: list[dict],
        *,
        wanted: Callable[[], bool] = lambda: True,
        max_visual_tokens: int | None = None,
        visitor: str = "",
    ) -> None:
        """Encode the pictures of `messages`, and prefill all that is certain before the text of the last message, which
        comes after its pictures, is there.

        Gives way when a question comes, from whomever, and goes on when it is answered; ends early when it is not
        `wanted` any more. Raises MediaError and SessionError as `stream` does.
        """
        self._scheduler.refuse_second_turn()
        check_messages(messages)
        *before, last = messages
        media = [part for part in content_parts(last) if part["type"] != "text"]
        owner = self._owner(visitor)
        try:
            prompt = self._prompt([*before, {"role": last["role"], "content": media}], max_visual_tokens, owner, wanted)
        except Interrupted:
            return
        plan = PrefillPlan(prompt, self._model, owner)
        certain = certain_tokens(prompt, self.processor.tokenizer.eos_token_id)
        done = False
        while not done and wanted():
            if self._scheduler.is_idle():
                done = self._prepare_more(plan, certain, wanted, group_of(visitor))
            else:
                time.sleep(POLL_S)

    def warm_up(self) -> None:
        """Encode and prefill something: OpenVINO arranges its weights at the first inference, for seconds."""
        self.prepare([{"role": "user", "content": [{"type": "image", "image": Image.new("RGB", (64, 64))}]}])

    def estimate(self, messages: list[dict], *, max_visual_tokens: int | None = None, visitor: str = "") -> Estimate:
        """What it would take to answer `messages` if nothing of them were cached: by the headers of their files, no
        pixel is made and no inference run.

        Raises MediaError and SessionError as `stream` does, but the last message may be empty as yet.
        """
        check_messages(messages)
        prompt = outline_prompt(self.processor, messages, self._media, max_visual_tokens, self._owner(visitor))
        self._check_length(len(prompt.ids))
        visual_tokens = sum(item.tokens for item in prompt.media)
        seconds = self._prefiller.throughput.seconds(visual_tokens, len(prompt.ids))
        return Estimate(len(prompt.ids), visual_tokens, seconds)

    @property
    def visual_token_budget(self) -> tuple[int, int]:
        """The fewest and the most visual tokens that a picture gets if `max_visual_tokens` is not given."""
        return self._media.visual_token_budget

    def memory(self) -> dict[str, int]:
        """Bytes of each cache. KV caches count as float32: an upper bound, OpenVINO's have 8 bits."""
        features, kv_caches = self._prefiller.features.bytes, self._prefixes.bytes
        return {"features": features, "kv_caches": kv_caches, "patches": self._media.bytes}

    # ---- the path of one answer --------------------------------------------------------------------------------------

    def _wanted_texts(self, state: AnswerState, request: Request, progress) -> Iterator[str]:
        """`_texts`, which ends without an error where the caller has stopped the answer."""
        if state.wanted():
            with contextlib.suppress(Interrupted):
                yield from self._texts(state, request, progress)

    def _texts(self, state: AnswerState, request: Request, progress) -> Iterator[str]:
        """Messages → prompt → tokens → pieces of text."""
        messages, begun = request.messages, ""
        if request.continue_final_message:
            messages, begun = split_final(messages)
        check_question(messages)
        params = SamplingParams.from_defaults(self._generation_config, request.options)
        constraint = self._schemas.constraint(request.json_schema, params.end_token_ids)
        question = self._prompt(messages, request.max_visual_tokens, request.owner, state.wanted)
        tokenizer, stats = self.processor.tokenizer, state.stats
        written = self._written.new(request.owner, question, begun, tokenizer)
        prompt = replace(question, ids=[*question.ids, *written.tokens])
        self._check_length(len(prompt.ids) + 1)
        plan = PrefillPlan(prompt, self._model, request.owner)
        params = params.within(self._model.context_length - len(plan))
        if constraint:
            constraint.accept(written.tokens.tolist())
        decoder = DraftDecoder(params, plan.prompt.ids, self._max_draft_tokens, constraint)
        stats.prompt_tokens = len(plan)
        stats.visual_tokens = sum(block.tokens for _, block in plan.blocks)
        stats.notes = tuple(dict.fromkeys(note for item in prompt.media for note in item.notes))
        tokens = self._tokens(state, plan, decoder, progress)
        with contextlib.closing(tokens):
            tokens_of_text = chain(written.pending, written.noting_tokens(tokens))
            pieces = text_pieces(tokens_of_text, tokenizer, is_cut=lambda: stats.finish_reason == LENGTH)
            if (yield from until_stop(params.stop_strings, written.noting_text(pieces))):
                stats.finish(STOP)

    def _tokens(self, state: AnswerState, plan: PrefillPlan, decoder: DraftDecoder, progress) -> Iterator[int]:
        """Prefill, then decode: step by step, until a token that ends the answer."""
        stats = state.stats
        prefix: CachedPrefix | None = None
        try:
            with self._turn(state, plan):
                prefix = self._prefixes.take(plan.keys, plan.owner)
            prefix.prompt_tokens = len(plan)
            stats.cached_tokens = len(prefix.keys)
            new = decoder.accept(self._prefill(state, prefix, plan, progress), [])
            while True:
                stats.first_token_s = stats.first_token_s or time.perf_counter() - state.started
                for token in new:
                    stats.answer_tokens += 1
                    if not decoder.is_end(token):
                        yield token
                if decoder.finish_reason:
                    stats.finish(decoder.finish_reason)
                    return
                new = self._decode_step(state, prefix, plan, decoder)
        finally:
            if prefix is not None:
                self._prefixes.release(prefix)

    def _turn(self, state: AnswerState, plan: PrefillPlan) -> Turn:
        return self._scheduler.turn(state.wanted, plan, state.group)

    def _prefill(self, state: AnswerState, prefix: CachedPrefix, plan: PrefillPlan, progress) -> np.ndarray:
        """Logits (1, vocabulary) of the prompt's last token. Others have their turn after every picture and every chunk
        of text.
        """
        to_encode = self._prefiller.blocks_to_encode(prefix, plan)
        tokens_to_encode = sum(block.tokens for _, block in to_encode)
        for index, block in to_encode:
            with self._turn(state, plan):
                seconds = self._prefiller.throughput.seconds(tokens_to_encode, len(plan) - len(prefix.keys))
                progress(Progress(ENCODING, index, len(plan.blocks), seconds))
                tokens_to_encode -= block.tokens
                self._prefiller.encode(plan, block)
                state.stats.encoded_tokens += block.tokens
        while len(prefix.keys) < len(plan):
            with self._turn(state, plan):
                logits = self._prefiller.prefill_chunk(prefix, plan, len(plan), progress)
        return logits[-1:]

    def _decode_step(
        self, state: AnswerState, prefix: CachedPrefix, plan: PrefillPlan, decoder: DraftDecoder
    ) -> list[int]:
        """One forward pass of the latest token, and of draft tokens behind it; the new tokens that it gives."""
        draft = decoder.draft()
        tokens = [decoder.ids[-1], *draft]
        position = plan.next_position + len(prefix.keys) - len(plan)
        position_ids = np.tile(np.arange(position, position + len(tokens)), (3, 1))  # text has three equal positions
        with self._turn(state, plan):
            logits = prefix.cache.forward(self._model.embed(tokens), position_ids)
        new = decoder.accept(logits, draft)
        prefix.cache.roll_back(len(tokens) - len(new))  # draft tokens that were rejected
        prefix.keys.extend(tokens[: len(new)])
        state.stats.steps[len(tokens)] = state.stats.steps.get(len(tokens), 0) + 1
        return new

    # ---- preparing ---------------------------------------------------------------------------------------------------

    def _prepare_more(self, plan: PrefillPlan, certain: int, wanted: Callable[[], bool], group: str) -> bool:
        """Prefill the first `certain` tokens, unless an answer is asked for. Returns whether all are prefilled."""

        def may_go_on() -> bool:
            """The caller still wants this, and every answer under way, if any, needs the block being encoded."""
            encoding, answers = self._prefiller.encoding, self._scheduler.answers()
            needed = [{answer.features_key(block) for _, block in answer.blocks} for answer in answers]
            return wanted() and all(encoding in keys for keys in needed)

        with contextlib.suppress(Interrupted), self._scheduler.turn(may_go_on, group=group):
            if self._prefixes.match(plan.keys[:certain], plan.owner) == certain:
                return True
            prefix = self._prefixes.take(plan.keys[: certain + 1], plan.owner)
            try:
                while len(prefix.keys) < certain:
                    self._prefiller.prefill_chunk(prefix, plan, certain)
                return True
            finally:
                self._prefixes.release(prefix)
        return False

    def _owner(self, visitor: str) -> str:
        """Whose caches serve `visitor`: their own, or, where the cache is shared, everybody's ("")."""
        return "" if self._shared_cache else visitor

    def _prompt(
        self, messages: list[dict], max_visual_tokens: int | None, owner: str, wanted: Callable[[], bool]
    ) -> Prompt:
        """Tokens and media of `messages`. Raises SessionError, before any pixel is made, where they cannot fit."""
        self._check_length(count_visual_tokens(messages, self._media, max_visual_tokens, owner))
        prompt = build_prompt(self.processor, messages, self._media, max_visual_tokens, owner, wanted)
        self._check_length(len(prompt.ids))
        return prompt

    def _check_length(self, tokens: int) -> None:
        """Raise SessionError for more tokens than the model's context has room for."""
        if tokens > self._model.context_length:
            raise SessionError(
                f"This conversation is too long: at least {tokens} tokens, but the model reads "
                f"{self._model.context_length}. Start a new one, or use fewer or smaller pictures."
            )
