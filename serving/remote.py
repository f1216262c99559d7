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
from serving.errors import BEGUN, BusyError, LostError
from session.answer import AnswerState
from session.prompt import check_messages, check_question, content_parts, outline_prompt
from session.vision_inputs import MediaProcessor

MAX_BYTES = 64 << 20  # of all files of a conversation: they cross with every question
MAX_PATCH_BYTES = 64 << 20  # kept here, for estimates
ATTEMPTS = 6  # in all: a router may not have heard yet that a replica is lost
BEGUN_ATTEMPTS = 2  # that a replica began: a request that kills whoever computes it is not handed to all of them
RETRY_S = 1.0  # times the number of the attempt: the routers hear of a lost replica within a second or two
POLL_S = 0.5  # between two looks whether what is prepared is still wanted
LOST = "The machine that wrote this answer was lost, and another one began differently. Please ask again."
RAY_ERRORS = (RayError, RayServeException)


class RemoteSession:
    """handle: of a deployment of `serving.replica.Replica`. max_concurrent_answers: that a page should ask for."""

    def __init__(self, handle, processor, *, max_concurrent_answers: int = 1):
        self.processor = processor
        self.max_concurrent_answers = max_concurrent_answers
        self._handle = handle
        self._media = MediaProcessor(processor, MAX_PATCH_BYTES)

    def stream(
        self, messages: list[dict], *, progress: Callable[[Progress], None] = lambda _: None, **options
    ) -> Answer:
        """As ChatSession.stream. Raises, too: BusyError; LostError; RuntimeError where the model failed.

        An answer that is drawn at random gets a seed, so that another replica would draw the same.
        """
        if options.get("do_sample") and options.get("seed") is None:
            options["seed"] = secrets.randbelow(2**32)
        state = AnswerState(stopped=_Stop())
        return Answer(state, self._texts(state, messages, progress, options))

    def prepare(
        self, messages: list[dict], *, wanted=lambda: True, max_visual_tokens: int | None = None, visitor: str = ""
    ) -> None:
        """As ChatSession.prepare, but whatever prevents it is said when the question comes."""
        check_messages(messages)
        packed = pack(messages)
        response = self._replica_of(packed, stream=False).prepare.remote(packed, max_visual_tokens, visitor)
        with contextlib.suppress(*RAY_ERRORS):
            while wanted():
                with contextlib.suppress(TimeoutError):
                    return response.result(timeout_s=POLL_S)
        response.cancel()

    def estimate(self, messages: list[dict], *, max_visual_tokens: int | None = None, visitor: str = "") -> Estimate:
        """As ChatSession.estimate, without the seconds: machines differ. What is kept here tells nobody anything."""
        check_messages(messages)
        prompt = outline_prompt(self.processor, messages, self._media, max_visual_tokens)
        return Estimate(len(prompt.ids), sum(item.tokens for item in prompt.media), None)

    @property
    def visual_token_budget(self) -> tuple[int, int]:
        return self._media.visual_token_budget

    def memory(self) -> dict[str, int]:
        """Nothing: the caches are elsewhere."""
        return {}

    def _replica_of(self, packed: list[dict], stream: bool):
        """The handle that leads to this conversation's replica."""
        return self._handle.options(stream=stream, session_id=conversation_of(packed))

    def _texts(self, state: AnswerState, messages: list[dict], progress, options: dict) -> Iterator[str]:
        """Pieces of the answer. Where a replica is lost, another one begins anew, and what the caller has already is
        left out of what that one says.
        """
        check_question(messages)
        packed = pack(messages)
        given = ""  # what the caller has
        problem, begun = None, 0
        for attempt in range(ATTEMPTS):
            state.stopped.wait(RETRY_S * max(0, attempt - 1))
            said = ""  # in this attempt
            try:
                for piece in self._pieces(state, packed, progress, options):
                    if piece == BEGUN:
                        begun += 1
                        continue
                    said += piece
                    if new := _beyond(given, said):
                        given = said
                        yield new
                if said != given and state.wanted():
                    raise LostError(LOST)
                return
            except RAY_ERRORS as error:
                problem = error
            if not state.wanted():
                return
            _raise_unless_lost(problem)
            if begun == BEGUN_ATTEMPTS:
                break
        raise LostError("No machine could answer. Please try again in a minute.") from problem

    def _pieces(self, state: AnswerState, packed: list[dict], progress, options: dict) -> Iterator[str]:
        """BEGUN, then what one replica says. Its counts go into the stats; times are those that are seen from here."""
        if not state.wanted():
            return
        response = self._replica_of(packed, stream=True).answer.remote(packed, options)
        state.stopped.response = response
        if not state.wanted():  # stopped in between
            response.cancel()
        stats = state.stats
        try:
            for event in takewhile(lambda _: state.wanted(), chain.from_iterable(response)):
                if isinstance(event, Progress):
                    progress(event)
                elif isinstance(event, Stats):
                    vars(stats).update({name: value for name, value in vars(event).items() if not name.endswith("_s")})
                else:
                    stats.first_token_s = stats.first_token_s or time.perf_counter() - state.started
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


def _beyond(given: str, said: str) -> str:
    """What `said` has after `given`; "" as long as it has not come so far. Raises LostError where the two differ."""
    if said.startswith(given):
        return said[len(given) :]
    if given.startswith(said):
        return ""
    raise LostError(LOST)


def _raise_unless_lost(problem: Exception) -> None:
    """Returns where the replica was lost, so that another one may be asked; else raises what the caller should hear."""
    if isinstance(problem, BackPressureError):
        raise BusyError("All places are taken right now. Please try again in a minute.") from problem
    if isinstance(problem, RayTaskError):  # raised there, SessionError and MediaError for example
        if isinstance(problem.cause, TypeError | ValueError):
            raise problem.cause
        raise RuntimeError(f"A replica failed: {type(problem.cause).__name__}")


# ---- what crosses ----------------------------------------------------------------------------------------------------


def pack(messages: list[dict]) -> list[dict]:
    """A copy of `messages` with a file's bytes instead of its path. Raises MediaError, SessionError."""
    parts = [part for message in messages for part in content_parts(message)]
    if sum(map(_bytes_of, parts)) > MAX_BYTES:  # before any is read
        raise SessionError(f"The files of a conversation can have {MAX_BYTES >> 20} MB together. Begin a new one.")
    return [{"role": m["role"], "content": [_packed(part) for part in content_parts(m)]} for m in messages]


def conversation_of(packed: list[dict]) -> str:
    """The same for every turn of a conversation: a digest of its first question, by the files alone where it has some,
    because pictures are encoded before the question is written.
    """
    first = next((message["content"] for message in packed if message["role"] == "user"), [])
    texts = [str(part.get("text")).encode() for part in first]
    return hashlib.blake2b(b"\0".join(_files(first) or texts), digest_size=16).hexdigest()


def _bytes_of(part: dict) -> int:
    file = part.get(part.get("type"))
    if isinstance(file, bytes):
        return len(file)
    is_path = part.get("type") != "text" and isinstance(file, str | os.PathLike)
    with contextlib.suppress(OSError):  # which is said where it is read
        return os.stat(file).st_size if is_path else 0
    return 0


def _packed(part: dict) -> dict:
    kind = part.get("type")
    if kind == "text" or not isinstance(part.get(kind), str | os.PathLike):
        return part  # if something is wrong with it, the session says so
    try:
        return {**part, kind: Path(part[kind]).read_bytes()}
    except OSError as error:
        raise MediaError("This file is no longer there. Please add it again.") from error


def _files(content: list[dict]) -> list[bytes]:
    return [part[part["type"]] for part in content if isinstance(part.get(part.get("type")), bytes)]
