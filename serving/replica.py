"""A ChatSession in a process of its own, as Ray Serve runs several.

Here: loading within the CPUs it was given, warming up, answering as a stream, health. Not here: who is sent where and
who waits (Ray Serve), what a client sees (`serving.remote`).
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from chat_session import Answer, ChatSession, Progress, Stats

HELLO = [{"role": "user", "content": "Hello"}]
# Answers under way in one replica, taking turns; each keeps a conversation in memory. Whoever comes on top is sent to
# another replica, which sees their pictures anew: with 16, half of the second turns of 50 visitors were.
AT_ONCE = 32
TOGETHER_S = 0.02  # pieces this close to each other are sent together
CONVERSATIONS = 64  # kept between the turns of as many visitors, within the session's bytes
# What every deployment has, whoever starts it. A rolling update and scaling down let answers end first.
DEPLOYMENT = {
    "max_ongoing_requests": AT_ONCE, "max_queued_requests": 64, "graceful_shutdown_timeout_s": 300,
    "health_check_period_s": 10, "health_check_timeout_s": 180,
    "request_router_config": {
        "request_router_class": "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
    },
}  # fmt: skip


def load(folder: str, threads: int) -> ChatSession:
    """A session with the exported model in `folder`, on the CPU with so many threads."""
    import torch

    from tasks.demo import load

    torch.set_num_threads(threads)
    model, processor = load(folder, folder, "CPU")
    for part in model.components.values():
        part.ov_config = {**part.ov_config, "INFERENCE_NUM_THREADS": str(threads)}
    return ChatSession(model, processor, max_cached_prefixes=CONVERSATIONS)


class Replica:
    """Takes traffic once it has looked, read and written. open_session: tests put another here."""

    def __init__(self, folder: str, threads: int, open_session=load):
        self.session, self._threads = open_session(folder, threads), ThreadPoolExecutor(AT_ONCE, "answer")
        self.session.warm_up()
        self.check_health()

    async def answer(self, messages: list[dict], options: dict) -> AsyncIterator[list[str | Progress | Stats]]:
        """Progress, pieces of text, and Stats at the end, in lists: of pieces in quick succession, some come together,
        because each list that crosses costs milliseconds. Raises what ChatSession.stream raises.
        """
        loop, events, last = asyncio.get_running_loop(), asyncio.Queue(), None
        tell = partial(loop.call_soon_threadsafe, events.put_nowait)
        answer = self.session.stream(messages, progress=tell, **options)
        work = loop.run_in_executor(self._threads, _pump, answer, tell)
        try:
            while not isinstance(last, Stats):
                together = [await events.get(), *(events.get_nowait() for _ in range(events.qsize()))]
                last = together[-1]
                if isinstance(last, BaseException):
                    raise last
                yield together
                if isinstance(last, str):
                    await asyncio.wait([work], timeout=TOGETHER_S)
        finally:  # also where Ray Serve cancels this, because the caller has
            answer.stop()

    async def prepare(self, messages: list[dict], max_visual_tokens: int | None) -> None:
        """As ChatSession.prepare, until it is cancelled."""
        gone = threading.Event()
        wanted = {"wanted": lambda: not gone.is_set(), "max_visual_tokens": max_visual_tokens}
        work = partial(self.session.prepare, messages, **wanted)
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            gone.set()

    def check_health(self) -> None:
        """Raises unless a token can be written: then Ray Serve puts another in this one's place."""
        list(self.session.stream(HELLO, max_new_tokens=1, do_sample=False))


def _pump(answer: Answer, tell) -> None:
    try:
        for piece in answer:
            tell(piece)
        tell(answer.stats)
    except BaseException as error:  # also what tokenizers' Rust raises; the client would wait for ever
        tell(error)
