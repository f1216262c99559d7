"""Visitors over replicas: `python -m benchmarks serving MODEL_DIR`. Needs requirements-serve.txt.

Each visitor has a picture of its own, asks about it and then asks again. Measured: answers and tokens a second, time to
the first token, second turns that found all of the first one in the prefix cache; what the way through Ray costs one
visitor; how long an answer pauses when its replica is killed. Printed, and written to benchmarks/results/serving.json.

`python -m benchmarks serving --capacity` only prints how many visitors machines carry, from what 2B took.

Not here: the page (`tests/stress/crowd.py`), engines side by side (`speed.py`).
"""

import argparse
import contextlib
import logging
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles

from tabulate import tabulate

from adapters import ray_serve
from benchmarks import records
from benchmarks.options import UsageError, add_model_dir
from benchmarks.processes import ROOT

QUESTIONS = ("Describe this image.", "How many shapes are there?")
OPTIONS = {"min_new_tokens": 32, "max_new_tokens": 32}
LONG = {"min_new_tokens": 1500, "max_new_tokens": 1500}
KILL_AT_PIECE = 50  # of a long answer
WHOLE_PIECES = 1000  # a long answer that came to its end has more
OVERHEAD_RUNS = 30  # of one visitor
WARM_UP_RUNS = 2  # before these
COLUMNS = {  # of the table of visitors
    "replicas": "replicas", "visitors": "visitors", "answers_s": "answers/s", "tokens_s": "tokens/s",
    "first_token_p50_s": "first token p50, s", "first_token_p95_s": "p95, s",
    "prefix_cache_hits": "second turns from the prefix cache",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_dir(parser, nargs="?")
    parser.add_argument("--threads", type=int, default=1, help="of each replica (default: %(default)s)")
    parser.add_argument("--visitors", type=int, nargs="+", default=[1, 2, 5, 10, 20, 50], help="default: %(default)s")
    parser.add_argument("--kills", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--capacity", action="store_true", help="only print how many visitors machines carry")


def run(options: argparse.Namespace) -> int:
    if options.capacity:
        print(*capacity(), sep="\n")
        return 0
    if options.model_dir is None:
        raise UsageError("name the folder of an exported model, or --capacity.")
    found = measure(options.model_dir, options.threads, options.visitors, options.kills)
    records.write(records.SERVING, found)
    print(table(found["crowd"]), "", sep="\n")
    print(*(f"{name}: {value}" for name, value in found.items() if name != "crowd"), sep="\n")
    return 0


def measure(model_dir: Path, threads: int, visitors: list[int], kills: int) -> dict:
    """What is in results/serving.json."""
    ray_serve.set_environment(ROOT)
    from serving.replica import load

    found: dict = {"cores": os.cpu_count(), "threads_per_replica": threads, "crowd": []}
    with deployed(model_dir, 1, threads) as session:
        found["overhead"] = overhead(session, load(str(model_dir), threads))
        found["crowd"] += [crowd(session, 1, number) for number in visitors]
    with deployed(model_dir, 2, threads) as session:
        found["crowd"] += [crowd(session, 2, number) for number in visitors]
        found["failover_s"] = [failover_s(session) for _ in range(kills)]
    return found


@contextlib.contextmanager
def deployed(model_dir: Path, replicas: int, threads: int) -> Iterator:
    """A RemoteSession, and the replicas behind it for the length of a `with`."""
    import ray
    from ray import serve
    from transformers import AutoConfig

    from catalog.open import load_processor
    from serving.remote import RemoteSession
    from serving.replica import DEPLOYMENT, Replica

    class WatchedReplica(Replica):
        def process_id(self) -> int:
            return os.getpid()

    try:
        ray_serve.start_cluster(replicas * threads, logging_level="error")
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        options = DEPLOYMENT | {"num_replicas": replicas, "ray_actor_options": {"num_cpus": threads}}
        application = serve.deployment(WatchedReplica).options(**options).bind(str(model_dir.resolve()), threads)
        processor = load_processor(model_dir, AutoConfig.from_pretrained(model_dir))
        yield RemoteSession(serve.run(application, route_prefix=None), processor)
    finally:
        serve.shutdown()
        ray.shutdown()


def conversation(name: str) -> list[dict]:
    """A first question, about a picture that no other name has."""
    from tiny_model.scenes import sample_scene

    image = sample_scene(random.Random(name), (168, 168), count=2).image
    return [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": QUESTIONS[0]}]}]


def ask(session, messages: list[dict]) -> dict:
    """Text, seconds to the first piece and to the last, counts."""
    answer = session.stream(messages, **OPTIONS)
    text = "".join(answer)
    return {"text": text, **vars(answer.stats)}


def overhead(remote, direct) -> dict:
    """Medians of one visitor, of a session in this process and of a replica, in turn."""
    sessions = {"direct": direct, "remote": remote}
    first_ms: dict[str, list[float]] = {name: [] for name in sessions}
    next_ms: dict[str, list[float]] = {name: [] for name in sessions}
    for number in range(WARM_UP_RUNS + OVERHEAD_RUNS):
        for name, session in sessions.items():
            stats = ask(session, conversation(f"overhead {number}"))
            decode_s = stats["total_s"] - stats["first_token_s"]
            first_ms[name].append(1000 * stats["first_token_s"])
            next_ms[name].append(1000 * decode_s / (stats["answer_tokens"] - 1))
    return {
        name: {
            "first_token_ms": round(median(first_ms[name][WARM_UP_RUNS:]), 2),
            "next_token_ms": round(median(next_ms[name][WARM_UP_RUNS:]), 2),
        }
        for name in sessions
    }


def crowd(session, replicas: int, visitors: int) -> dict:
    """One row of the table: so many visitors at once, each asking twice."""

    def visit(number: int) -> tuple[dict, dict]:
        messages = conversation(f"{replicas} {visitors} {number}")
        first = ask(session, messages)
        follow_up = [{"role": "assistant", "content": first["text"]}, {"role": "user", "content": QUESTIONS[1]}]
        return first, ask(session, messages + follow_up)

    started = time.perf_counter()
    with ThreadPoolExecutor(visitors) as pool:
        visits = list(pool.map(visit, range(visitors)))
    seconds = time.perf_counter() - started
    answers = [answer for visit in visits for answer in visit]
    cuts = quantiles([answer["first_token_s"] for answer in answers], n=20)
    hits = sum(second["cached_tokens"] >= first["prompt_tokens"] for first, second in visits)  # all of the first turn
    return {
        "replicas": replicas,
        "visitors": visitors,
        "answers_s": len(answers) / seconds,
        "tokens_s": sum(answer["answer_tokens"] for answer in answers) / seconds,
        "first_token_p50_s": cuts[9],
        "first_token_p95_s": cuts[18],
        "prefix_cache_hits": hits / visitors,
    }


def failover_s(session) -> float | None:
    """Kill the replica of an answer in its middle: the longest pause between two pieces, in seconds. None where the
    other one began differently, and the visitor was told.
    """
    from serving.remote import LostError, conversation_of, pack

    messages = conversation(f"lost {time.time()}")
    its_replica = session._handle.options(session_id=conversation_of(pack(messages)))
    while len(session._handle.broadcast("process_id").results()) < 2:  # one was killed before
        time.sleep(0.5)
    process = its_replica.process_id.remote().result()
    times: list[float] = []
    with contextlib.suppress(LostError):
        for _ in session.stream(messages, **LONG):
            times.append(time.perf_counter())
            if len(times) == KILL_AT_PIECE:
                os.kill(process, signal.SIGKILL)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    return round(max(pauses), 2) if len(times) > WHOLE_PIECES else None


def capacity(think_s: float = 60, tokens: int = 100, utilisation: float = 0.7, replicas: int = 1) -> list[str]:
    """How many visitors machines carry: lines with the formula, its figures and assumptions.

    Each visitor reads and thinks for `think_s` between an answer of `tokens` tokens and the next question, which comes
    with a new picture every time: the dearest kind. `utilisation`: more, and waiting takes longer than answering.
    """
    measured = records.read(records.RUNS)["2b"]
    first_token_s, tokens_s = measured["first_token_s"], measured["tokens_s"]
    answer_s = first_token_s + tokens / tokens_s
    each = replicas * utilisation * (think_s + answer_s) / answer_s
    return [
        "visitors = machines · replicas per machine · utilisation · (think time + answer time) / answer time",
        f"2B on {measured['where']}: answer time {first_token_s:.3g} s + {tokens} tokens / {tokens_s:.3g} tokens/s = "
        f"{answer_s:.1f} s, think time {think_s:g} s, replicas per machine {replicas}, utilisation {utilisation:g}",
        *(f"{machines} machine{'s' * (machines > 1)}: {machines * each:.0f} visitors" for machines in (1, 4, 10)),
    ]


def table(rows: list[dict]) -> str:
    """rows: results of `crowd`."""
    cells = [[f"{row[key]:.3g}" if isinstance(row[key], float) else row[key] for key in COLUMNS] for row in rows]
    return tabulate(cells, list(COLUMNS.values()), tablefmt="github", disable_numparse=True)
