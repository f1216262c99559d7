"""RemoteSession: what the chat page calls on a ChatSession, answered by replicas on the other side of a Ray Serve
handle.

Here: files as bytes (a replica may be on another machine), asking, going on elsewhere when a replica is lost, stopping.
Not here: which replica it is (consistent hashing, by the conversation's first question), computing (`serving.replica`).
"""

import contextlib
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from itertools import chain, takewhile
from pathlib import Path

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException

from chat_session import Answer, Estimate, MediaError, Progress, SessionError, Stats
from session.answer import AnswerState
from session.prompt import build_prompt, check_messages, check_question, content_parts
from session.vision_inputs import MediaProcessor

MAX_BYTES = 64 << 20  # of all files of a conversation: they cross with every question
ATTEMPTS, PAUSE_S = 6, 1.0  # the routers hear of a lost replica within a second or two
BEAT_S = 0.5  # between two looks whether what is prepared is still wanted
LOST = "The machine that wrote this answer was lost, and another one began differently. Please ask again."
GONE = (RayError, RayServeException)


class BusyError(SessionError):
    """All replicas have as much to do as they take, and as many wait already as may."""


class LostError(SessionError):
    """An answer that was cut off with its replica, and that no other could finish word for word."""


class RemoteSession:
    """handle: of a deployment of `serving.replica.Replica`. at_once: answers that a page should ask for at a time."""

    def __init__(self, handle, processor, *, max_concurrent_answers: int = 1):
        self.processor, self.max_concurrent_answers = processor, max_concurrent_answers
        self._handle, self._patches = handle, MediaProcessor(processor, 64 << 20)

    def stream(
        self, messages: list[dict], *, progress: Callable[[Progress], None] = lambda _: None, **options
    ) -> Answer:
        """As ChatSession.stream. Raises, too: BusyError; LostError; RuntimeError where the model failed.

        An answer that is drawn at random gets a seed, so that another replica would draw the same.
        """
        if options.get("do_sample") and options.get("seed") is None:
            options["seed"] = secrets.randbelow(2**32)
        run = AnswerState(stopped=_Stop())
        return Answer(run, self._texts(run, messages, progress, options))

    def prepare(self, messages: list[dict], *, wanted=lambda: True, max_visual_tokens: int | None = None) -> None:
        """As ChatSession.prepare, but whatever prevents it is said when the question comes."""
        check_messages(messages)
        packed = pack(messages)
        response = self._at(packed, stream=False).prepare.remote(packed, max_visual_tokens)
        with contextlib.suppress(*GONE):
            while wanted():
                with contextlib.suppress(TimeoutError):
                    return response.result(timeout_s=BEAT_S)
        response.cancel()

    def estimate(self, messages: list[dict], *, max_visual_tokens: int | None = None) -> Estimate:
        """As ChatSession.estimate, without the seconds: machines differ."""
        check_messages(messages)
        prompt = build_prompt(self.processor, messages, self._patches, max_visual_tokens)
        return Estimate(len(prompt.ids), sum(medium.tokens for medium in prompt.media), None)

    @property
    def visual_token_budget(self) -> tuple[int, int]:
        return self._patches.visual_token_budget

    def memory(self) -> dict[str, int]:
        """Nothing: what is kept is kept elsewhere."""
        return {}

    def _at(self, packed: list[dict], stream: bool):
        return self._handle.options(stream=stream, session_id=conversation_of(packed))

    def _texts(self, run: AnswerState, messages: list[dict], progress, options: dict) -> Iterator[str]:
        check_question(messages)
        packed, given, problem = pack(messages), "", None
        for attempt in range(ATTEMPTS):
            said = ""  # in this attempt; what was given before is not given again
            run.stopped.wait(PAUSE_S * max(0, attempt - 1))
            try:
                for piece in self._pieces(run, packed, progress, options):
                    said += piece
                    if said.startswith(given) and said != given:
                        new, given = said[len(given) :], said
                        yield new
                    elif not given.startswith(said):
                        raise LostError(LOST)
                if said != given and run.wanted():
                    raise LostError(LOST)
                return
            except GONE as error:
                problem = error
            if not run.wanted():
                return
            if isinstance(problem, BackPressureError):
                raise BusyError("All places are taken right now. Please try again in a minute.") from problem
            if isinstance(problem, RayTaskError):  # raised there, SessionError and MediaError for example
                known = isinstance(problem.cause, TypeError | ValueError)
                raise problem.cause if known else RuntimeError(f"A replica failed: {type(problem.cause).__name__}")
        raise LostError("No machine could answer. Please try again in a minute.") from problem

    def _pieces(self, run: AnswerState, packed: list[dict], progress, options: dict) -> Iterator[str]:
        """What one replica says. Its counts go into the stats; times are those that are seen from here."""
        response = run.stopped.response = self._at(packed, stream=True).answer.remote(packed, options)
        try:
            for event in takewhile(lambda _: run.wanted(), chain.from_iterable(response)):
                if isinstance(event, Progress):
                    progress(event)
                elif isinstance(event, Stats):
                    vars(run.stats).update({k: v for k, v in vars(event).items() if not k.endswith("_s")})
                else:
                    run.stats.first_token_s = run.stats.first_token_s or time.perf_counter() - run.began
                    yield event
        finally:
            response.cancel()


class _Stop(threading.Event):
    """Set, it reaches the replica too, or the queue where the question still waits for one."""

    response = None

    def set(self) -> None:
        super().set()
        if self.response:
            self.response.cancel()


def pack(messages: list[dict]) -> list[dict]:
    """A copy of `messages` with a file's bytes in the place of its path. Raises MediaError, SessionError."""
    packed = [{"role": m["role"], "content": [_packed(block) for block in content_parts(m)]} for m in messages]
    if sum(map(len, _files(block for message in packed for block in message["content"]))) > MAX_BYTES:
        raise SessionError(f"The files of a conversation can have {MAX_BYTES >> 20} MB together. Begin a new one.")
    return packed


def conversation_of(packed: list[dict]) -> str:
    """The same for every turn of a conversation: a digest of its first question, by the files alone where it has some,
    because pictures are looked at before the question is written.
    """
    first = next((message["content"] for message in packed if message["role"] == "user"), [])
    texts = [str(block.get("text")).encode() for block in first]
    return hashlib.blake2b(b"\0".join(_files(first) or texts), digest_size=16).hexdigest()


def _packed(block: dict) -> dict:
    kind = block.get("type")
    if kind == "text" or not isinstance(block.get(kind), str | os.PathLike):
        return block  # if something is wrong with it, the session says so
    try:
        return {**block, kind: Path(block[kind]).read_bytes()}
    except OSError as error:
        raise MediaError("This file is no longer there. Please add it again.") from error


def _files(content) -> list[bytes]:
    return [block[block["type"]] for block in content if isinstance(block.get(block.get("type")), bytes)]
