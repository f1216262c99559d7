"""A ChatSession in a process of its own, as Ray Serve runs several.

Here: loading within the CPUs it was given, warming up, answering as a stream, health. Not here: who is sent where and
who waits (Ray Serve), what a client sees (`serving.remote`).
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from adapters.ray_serve import SESSION_ROUTER
from chat_session import ChatSession, Progress, Stats
from serving.errors import BEGUN

HEALTH_QUESTION = [{"role": "user", "content": "Hello"}]
# Answers under way in one replica, taking turns; each has a KV cache in memory. Whoever comes on top is sent to another
# replica, which encodes their pictures anew: with 16, half of the second turns of 50 visitors were.
MAX_ONGOING_REQUESTS = 32
SILENCE_S = 60  # longer than any single step of a model takes
COALESCE_S = 0.02  # pieces this close to each other are sent together
MAX_CACHED_PREFIXES = 64  # kept between the turns of as many visitors, within the session's bytes
# What every deployment has, whoever starts it. A rolling update and scaling down let answers end first.
DEPLOYMENT = {
    "max_ongoing_requests": MAX_ONGOING_REQUESTS, "max_queued_requests": 64, "graceful_shutdown_timeout_s": 300,
    "health_check_period_s": 10, "health_check_timeout_s": 180,
    "request_router_config": {"request_router_class": SESSION_ROUTER},
}  # fmt: skip


def load(folder: str, threads: int) -> ChatSession:
    """A session with the exported model in `folder`, on the CPU with so many threads."""
    import torch

    from catalog.open import open_model

    torch.set_num_threads(threads)
    model, processor = open_model(folder, "CPU")
    for part in model.components.values():
        part.ov_config = {**part.ov_config, "INFERENCE_NUM_THREADS": str(threads)}
    return ChatSession(model, processor, max_cached_prefixes=MAX_CACHED_PREFIXES)


class Replica:
    """Takes traffic once it has encoded, prefilled and decoded. open_session: tests put another here."""

    def __init__(self, folder: str, threads: int, open_session=load):
        self.session = open_session(folder, threads)
        self._threads = ThreadPoolExecutor(MAX_ONGOING_REQUESTS, "answer")
        self._counting = threading.Lock()
        self._under_way = 0  # threads that answer, also for callers that have gone
        self._last_event = time.monotonic()
        self.session.warm_up()
        self.check_health()

    async def answer(self, messages: list[dict], options: dict) -> AsyncIterator[list[str | Progress | Stats]]:
        """Progress, pieces of text, and Stats at the end, in lists: of pieces in quick succession, some come together,
        because each list that crosses costs milliseconds. Raises what ChatSession.stream raises.
        """
        yield [BEGUN]
        loop = asyncio.get_running_loop()
        events: asyncio.Queue = asyncio.Queue()
        put = partial(loop.call_soon_threadsafe, events.put_nowait)
        answer = self.session.stream(messages, progress=put, **options)
        work = loop.run_in_executor(self._threads, self._pump, answer, put)
        last = None
        try:
            while not isinstance(last, Stats):
                together = [await events.get()]
                while not events.empty():
                    together.append(events.get_nowait())
                last = together[-1]
                failed = isinstance(last, BaseException)
                if said := together[:-1] if failed else together:
                    yield said
                if failed:
                    raise last
                if isinstance(last, str):
                    await asyncio.wait([work], timeout=COALESCE_S)
        finally:  # also where Ray Serve cancels this, because the caller has
            answer.stop()

    async def prepare(self, messages: list[dict], max_visual_tokens: int | None, visitor: str) -> None:
        """As ChatSession.prepare, until it is cancelled."""
        cancelled = threading.Event()
        work = partial(
            self.session.prepare,
            messages,
            wanted=lambda: not cancelled.is_set(),
            max_visual_tokens=max_visual_tokens,
            visitor=visitor,
        )
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            cancelled.set()

    def check_health(self) -> None:
        """Raises unless this replica computes: then Ray Serve starts another one instead.

        While answers are under way, their events show it, and no question of our own waits behind visitors; only where
        none has come for SILENCE_S, or nothing is under way, a token is asked for. Where every thread is held by
        answers that say nothing, a replica is deaf, whatever it could compute.
        """
        is_silent = time.monotonic() - self._last_event > SILENCE_S
        if self._under_way and not is_silent:
            return
        if self._under_way >= MAX_ONGOING_REQUESTS:
            raise RuntimeError(f"All {self._under_way} threads have been silent for {SILENCE_S} s.")
        list(self.session.stream(HEALTH_QUESTION, max_new_tokens=1, do_sample=False, visitor="health check"))

    def _pump(self, answer, put) -> None:
        """`Answer.pump`, noting that something happens."""

        def put_and_note(event) -> None:
            self._last_event = time.monotonic()
            put(event)

        with self._counting:
            self._under_way += 1
        try:
            answer.pump(put_and_note)
        finally:
            with self._counting:
                self._under_way -= 1
