"""A ChatSession in a process of its own, as Ray Serve runs several.

Here: loading within the CPUs it was given, warming up, answering as a stream, health. Not here: who is sent where and
who waits (Ray Serve), what a client sees (`serving.remote`).
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from adapters.ray_serve import SESSION_ROUTER
from chat_session import ChatSession, Progress, Stats

HEALTH_QUESTION = [{"role": "user", "content": "Hello"}]
# Answers under way in one replica, taking turns; each has a KV cache in memory. Whoever comes on top is sent to another
# replica, which encodes their pictures anew: with 16, half of the second turns of 50 visitors were.
MAX_ONGOING_REQUESTS = 32
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
        self.session.warm_up()
        self.check_health()

    async def answer(self, messages: list[dict], options: dict) -> AsyncIterator[list[str | Progress | Stats]]:
        """Progress, pieces of text, and Stats at the end, in lists: of pieces in quick succession, some come together,
        because each list that crosses costs milliseconds. Raises what ChatSession.stream raises.
        """
        loop = asyncio.get_running_loop()
        events: asyncio.Queue = asyncio.Queue()
        put = partial(loop.call_soon_threadsafe, events.put_nowait)
        answer = self.session.stream(messages, progress=put, **options)
        work = loop.run_in_executor(self._threads, answer.pump, put)
        last = None
        try:
            while not isinstance(last, Stats):
                together = [await events.get()]
                while not events.empty():
                    together.append(events.get_nowait())
                last = together[-1]
                if isinstance(last, BaseException):
                    raise last
                yield together
                if isinstance(last, str):
                    await asyncio.wait([work], timeout=COALESCE_S)
        finally:  # also where Ray Serve cancels this, because the caller has
            answer.stop()

    async def prepare(self, messages: list[dict], max_visual_tokens: int | None) -> None:
        """As ChatSession.prepare, until it is cancelled."""
        cancelled = threading.Event()
        work = partial(
            self.session.prepare,
            messages,
            wanted=lambda: not cancelled.is_set(),
            max_visual_tokens=max_visual_tokens,
        )
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            cancelled.set()

    def check_health(self) -> None:
        """Raises unless a token can be generated: then Ray Serve starts another replica instead of this one."""
        list(self.session.stream(HEALTH_QUESTION, max_new_tokens=1, do_sample=False))
