"""Visitors over replicas: `python benchmarks/serving.py MODEL_DIR`. Needs requirements-serve.txt.

Each visitor has a picture of its own, asks about it and then asks again. Measured: answers and tokens a second, time to
the first token, second turns that found what the first one left; what the way through Ray costs one visitor; how long
an answer pauses when its replica is killed. Printed, and written to results/serving.json beside this file.

`python benchmarks/serving.py --capacity` only prints how many visitors machines carry, from what 2B took.

Not here: the page (`crowd.py`), engines side by side (`benchmark.py`).
"""

import argparse
import contextlib
import json
import logging
import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, the helpers lie one above

from benchmarks.processes import why_no_model  # noqa: E402
from catalog.measured import RUNS  # noqa: E402
from serving.front import set_environment  # noqa: E402
from serving.replica import DEPLOYMENT, Replica, load  # noqa: E402
from tiny_model.scenes import sample_scene  # noqa: E402

RESULTS = Path(__file__).with_name("results/serving.json")
QUESTIONS = ("Describe this image.", "How many shapes are there?")
OPTIONS = {"min_new_tokens": 32, "max_new_tokens": 32}
STORY = {"min_new_tokens": 1500, "max_new_tokens": 1500}
RUNS_ALONE = 30  # of one visitor, for the overhead


def main() -> int:
    options = read_options()
    if options.capacity:
        print(*capacity(), sep="\n")
        return 0
    set_environment()
    found = {"cores": os.cpu_count(), "threads of a replica": options.threads, "crowd": []}
    for replicas in (1, 2):
        with serving(options.model_dir, replicas, options.threads) as session:
            if replicas == 1:
                found["overhead"] = overhead(session, load(str(options.model_dir), options.threads))
            found["crowd"] += [crowd(session, replicas, visitors) for visitors in options.visitors]
            if replicas == 2:
                found["pause of a lost replica, s"] = [lost(session) for _ in range(options.kills)]
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    print(*table(found["crowd"]), "", sep="\n")
    print(*(f"{name}: {value}" for name, value in found.items() if name != "crowd"), sep="\n")
    return 0


class Watched(Replica):
    def process(self) -> int:
        return os.getpid()


@contextlib.contextmanager
def serving(model_dir: Path, replicas: int, threads: int):
    """A RemoteSession, and the replicas behind it for the length of a `with`."""
    import ray
    from ray import serve
    from transformers import AutoProcessor

    from serving.remote import RemoteSession

    ray.init(num_cpus=replicas * threads, object_store_memory=200 << 20, include_dashboard=False,
             logging_level="error", log_to_driver=False, _node_ip_address="127.0.0.1")  # fmt: skip
    try:
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        serve.start(proxy_location="Disabled")
        options = DEPLOYMENT | {"num_replicas": replicas, "ray_actor_options": {"num_cpus": threads}}
        application = serve.deployment(Watched).options(**options).bind(str(model_dir.resolve()), threads)
        yield RemoteSession(serve.run(application, route_prefix=None), AutoProcessor.from_pretrained(model_dir))
    finally:
        serve.shutdown()
        ray.shutdown()


def conversation(name: str) -> list[dict]:
    image = sample_scene(random.Random(name), (168, 168), count=2).image
    return [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": QUESTIONS[0]}]}]


def ask(session, messages: list[dict]) -> dict:
    """Text, seconds to the first piece and to the last, counts."""
    answer = session.stream(messages, **OPTIONS)
    return {"text": "".join(answer), **vars(answer.stats)}


def overhead(remote, direct) -> dict:
    """Medians of one visitor, of a session in this process and of a replica, in turn; milliseconds."""
    took = {"direct": [], "remote": []}
    for number in range(RUNS_ALONE + 2):
        for name, session in (("direct", direct), ("remote", remote)):
            stats = ask(session, conversation(f"overhead {number}"))
            writing = (stats["total_s"] - stats["first_token_s"]) / (stats["answer_tokens"] - 1)
            took[name].append((1000 * stats["first_token_s"], 1000 * writing))
    names = ("first token, ms", "each further token, ms")
    return {
        way: {name: round(median(values[2:]), 2) for name, values in zip(names, zip(*pairs, strict=True), strict=True)}
        for way, pairs in took.items()
    }


def crowd(session, replicas: int, visitors: int) -> dict:
    def visit(number: int) -> list[dict]:
        messages = conversation(f"{replicas} {visitors} {number}")
        first = ask(session, messages)
        question = {"role": "user", "content": QUESTIONS[1]}
        return [first, ask(session, [*messages, {"role": "assistant", "content": first["text"]}, question])]

    began = time.perf_counter()
    with ThreadPoolExecutor(visitors) as pool:
        visits = list(pool.map(visit, range(visitors)))
    took = time.perf_counter() - began
    answers = [answer for visit in visits for answer in visit]
    cuts = quantiles([a["first_token_s"] for a in answers], n=20)
    hits = sum(second["cached_tokens"] >= first["prompt_tokens"] for first, second in visits)  # all of the first turn
    return {"replicas": replicas, "visitors": visitors, "answers/s": len(answers) / took,
            "tokens/s": sum(a["answer_tokens"] for a in answers) / took, "first token p50, s": cuts[9],
            "p95, s": cuts[18], "second turns from cache": hits / visitors}  # fmt: skip


def lost(session) -> float | None:
    """Kill the replica of an answer in its middle: the longest pause between two pieces, in seconds. None where the
    other one began differently, and the visitor was told.
    """
    from serving.remote import LostError, conversation_of, pack

    messages, times = conversation(f"lost {time.time()}"), []
    place = session._handle.options(session_id=conversation_of(pack(messages)))
    while len(session._handle.broadcast("process").results()) < 2:  # one was killed before
        time.sleep(0.5)
    process = place.process.remote().result()
    with contextlib.suppress(LostError):
        for _ in session.stream(messages, **STORY):
            times.append(time.perf_counter())
            if len(times) == 50:
                os.kill(process, signal.SIGKILL)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return round(max(gaps), 2) if len(times) > 1000 else None


def capacity(think_s: float = 60, tokens: int = 100, utilisation: float = 0.7, replicas: int = 1) -> list[str]:
    """How many visitors machines carry: lines with the formula, its figures and assumptions.

    Each visitor reads and thinks for `think_s` between an answer of `tokens` tokens and the next question, which comes
    with a new picture every time: the dearest kind. `utilisation`: more, and waiting takes longer than answering.
    """
    run = RUNS["2b"]
    answer_s = run.first_answer_s + tokens / run.tokens_s
    each = replicas * utilisation * (think_s + answer_s) / answer_s
    return [
        "visitors = machines · replicas per machine · utilisation · (think time + answer time) / answer time",
        f"2B on {run.where}: answer time {run.first_answer_s:g} s + {tokens} tokens / {run.tokens_s:g} tokens/s = "
        f"{answer_s:.1f} s, think time {think_s:g} s, replicas per machine {replicas}, utilisation {utilisation:g}",
        *(f"{machines} machine{'s' * (machines > 1)}: {machines * each:.0f} visitors" for machines in (1, 4, 10)),
    ]


def table(rows: list[dict]) -> list[str]:
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=Path, nargs="?", metavar="MODEL_DIR", help="an exported Qwen2-VL")
    parser.add_argument("--threads", type=int, default=1, help="of each replica (default: %(default)s)")
    parser.add_argument("--visitors", type=int, nargs="+", default=[1, 2, 5, 10, 20, 50], help="default: %(default)s")
    parser.add_argument("--kills", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--capacity", action="store_true", help="only print how many visitors machines carry")
    options = parser.parse_args()
    if not options.capacity and (missing := why_no_model(options.model_dir or Path(""))):
        parser.error(missing)
    return options


if __name__ == "__main__":
    sys.exit(main())
