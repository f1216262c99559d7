"""A ChatSession in a process of its own, as Ray Serve runs several.

Here: loading within the CPUs it was given, warming up, answering as a stream of plain events, health. Not here: who is
sent where and who waits (Ray Serve), what a client sees (`serving.remote`).
"""

import asyncio
import dataclasses
import logging
import threading
import time
from collections.abc import AsyncIterator

from serving.wire import ERRORS, MAX_BYTES, Files

BEAT_S = 0.5  # between two signs of life of what has nothing to tell
PROOF_S = 30  # for so long a token is proof enough of health
HELLO = [{"role": "user", "content": "Hello"}]
AT_ONCE = 4  # answers under way in one replica, taking turns; each keeps a conversation in memory
CONVERSATIONS = 64  # kept between the turns of as many visitors, within the session's bytes
# What every deployment has, whoever starts it. A rolling update and scaling down let answers end first.
DEPLOYMENT = {
    "max_ongoing_requests": AT_ONCE, "max_queued_requests": 64, "graceful_shutdown_timeout_s": 300,
    "health_check_period_s": 10, "health_check_timeout_s": 180,
    "request_router_config": {
        "request_router_class": "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
    },
}  # fmt: skip

logger = logging.getLogger("ray.serve")


def load(folder: str, threads: int):
    """The ChatSession of the exported model in `folder`, with so many threads; the practice model's as any other."""
    import torch

    from chat_session import ChatSession
    from tasks.demo import load

    torch.set_num_threads(threads)
    model, processor = load(folder, folder, "CPU")
    for part in model.components.values():
        part.ov_config = {**part.ov_config, "INFERENCE_NUM_THREADS": str(threads)}
    return ChatSession(model, processor, max_conversations=CONVERSATIONS)


class Replica:
    """open_session: makes the ChatSession of a model's folder; tests put another here."""

    def __init__(self, folder: str, threads: int, open_session=load):
        self.session = open_session(folder, threads)
        self.session.warm_up()
        self._files = Files(MAX_BYTES * (AT_ONCE + 1))
        self._spoke = 0.0
        self._speak()

    async def answer(self, packed: list[dict], options: dict) -> AsyncIterator[list[dict]]:
        """Events as they come, several where they come faster than they are taken: {"progress": Progress's fields},
        {"text": str}, at last {"stats": Stats' fields} or {"error": [a type's name, a sentence]}.
        """
        told, last = _Told(), None
        answer = self.session.stream(self._files.unpack(packed), progress=told.progress, **options)
        threading.Thread(target=_pump, args=(answer, told), daemon=True).start()
        try:
            while not last:
                events = await told.wait()
                self._spoke = time.monotonic()
                last = events[-1].keys() & {"stats", "error"}
                yield events
        finally:
            answer.stop()

    async def prepare(self, packed: list[dict], max_visual_tokens: int | None) -> AsyncIterator[list]:
        """Look and read ahead until the caller has gone; a sign of life every BEAT_S, at last an error if any."""
        told, gone = _Told(), threading.Event()
        given = {"wanted": lambda: not gone.is_set(), "max_visual_tokens": max_visual_tokens}
        work = asyncio.create_task(asyncio.to_thread(self.session.prepare, self._files.unpack(packed), **given))
        try:
            while not work.done():
                await asyncio.wait([work], timeout=BEAT_S)
                yield []
            if error := work.exception():
                told.error(error)
                yield await told.wait()
        finally:
            gone.set()

    def seconds(self, looking: int, reading: int) -> float | None:
        """What so many tokens take here, as far as that was measured."""
        return self.session._reader.pace.seconds(looking, reading)

    def memory(self) -> dict[str, int]:
        return self.session.memory()

    async def check_health(self) -> None:
        """Raises unless a token was written lately or can be now."""
        if time.monotonic() - self._spoke > PROOF_S:
            await asyncio.to_thread(self._speak)

    def _speak(self) -> None:
        answer = self.session.stream(HELLO, max_new_tokens=1, min_new_tokens=1, do_sample=False)
        list(answer)
        if not answer.stats.answer_tokens:
            raise RuntimeError("the model wrote nothing")
        self._spoke = time.monotonic()


class _Told:
    """Events from the thread that computes to the loop that made this."""

    def __init__(self):
        self._loop, self._queue = asyncio.get_running_loop(), asyncio.Queue()

    def put(self, event: dict) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, event)

    def progress(self, progress) -> None:
        self.put({"progress": dataclasses.asdict(progress)})

    def error(self, error: BaseException) -> None:
        name = type(error).__name__
        if name not in ERRORS:
            logger.error("answering failed", exc_info=error)
        self.put({"error": [name, str(error) if name in ERRORS else name]})

    async def wait(self) -> list[dict]:
        events = [await self._queue.get()]
        while not self._queue.empty():
            events.append(self._queue.get_nowait())
        return events


def _pump(answer, told: _Told) -> None:
    try:
        for piece in answer:
            told.put({"text": piece})
        told.put({"stats": dataclasses.asdict(answer.stats)})
    except BaseException as error:  # also what tokenizers' Rust raises; the client would wait for ever
        told.error(error)
