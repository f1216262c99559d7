"""Visitors over replicas: `python benchmarks/serving.py MODEL_DIR`. Needs requirements-serve.txt.

Each visitor has a picture of its own, asks about it and then asks again. Measured: answers and tokens a second, time to
the first token, second turns that found what the first one left; what the way through Ray costs one visitor; how long
an answer pauses when its replica is killed.

Not here: the page (`crowd.py`), engines side by side (`benchmark.py`).
"""

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, the helpers lie one above
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}

from benchmarks.processes import why_no_model  # noqa: E402
from tiny_model.scenes import sample_scene  # noqa: E402

QUESTIONS = ("Describe this image.", "How many shapes are there?")
OPTIONS = {"min_new_tokens": 32, "max_new_tokens": 32}
STORY = {"min_new_tokens": 600, "max_new_tokens": 600}
RUNS = 30  # of one visitor, for the overhead


def main() -> int:
    options = read_options()
    rows = []
    with Serving(options.model_dir, 1, options.threads) as session:
        print(json.dumps(overhead(session, options.model_dir, options.threads)), flush=True)
        rows += [crowd(session, 1, visitors) for visitors in options.visitors]
    with Serving(options.model_dir, 2, options.threads) as session:
        rows += [crowd(session, 2, visitors) for visitors in options.visitors]
        print(json.dumps({"pause_of_a_lost_replica_s": [lost(session) for _ in range(options.kills)]}), flush=True)
    print(*table(rows), sep="\n")
    return 0


class Serving:
    """A RemoteSession, and the replicas behind it for the length of a `with`."""

    def __init__(self, model_dir: Path, replicas: int, threads: int):
        self._model_dir, self._replicas, self._threads = model_dir, replicas, threads

    def __enter__(self):
        import ray
        from ray import serve
        from transformers import AutoProcessor

        from serving.remote import RemoteSession
        from serving.replica import DEPLOYMENT
        from tests.serving.tested import Tested

        ray.init(num_cpus=self._replicas * self._threads, object_store_memory=200 << 20, include_dashboard=False,
                 logging_level="error", log_to_driver=False, _node_ip_address="127.0.0.1")  # fmt: skip
        serve.start(proxy_location="Disabled")
        settings = {"num_replicas": self._replicas, "ray_actor_options": {"num_cpus": self._threads}}
        deployment = serve.deployment(Tested).options(name="Replica", **DEPLOYMENT | settings)
        self.handle = serve.run(deployment.bind(str(self._model_dir), self._threads), route_prefix=None)
        self.session = RemoteSession(self.handle, AutoProcessor.from_pretrained(self._model_dir))
        return self.session

    def __exit__(self, *_):
        import ray
        from ray import serve

        serve.shutdown()
        ray.shutdown()


def conversation(name: str) -> list[dict]:
    image = sample_scene(random.Random(name), (168, 168), count=2).image
    return [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": QUESTIONS[0]}]}]


def ask(session, messages: list[dict], **options) -> dict:
    """Text, seconds to the first piece and to the last, counts."""
    answer = session.stream(messages, **options)
    return {"text": "".join(answer), **vars(answer.stats)}


def overhead(session, model_dir: Path, threads: int) -> dict:
    """Medians with one visitor, of a session in this process and of a replica, in turn."""
    from serving.replica import load

    direct = load(str(model_dir), threads)
    found = {"direct": [], "remote": []}
    for number in range(RUNS + 2):
        for name, each in (("direct", direct), ("remote", session)):
            took = ask(each, conversation(f"overhead {number}"), **OPTIONS)
            writing = (took["total_s"] - took["first_token_s"]) / (took["answer_tokens"] - 1)
            found[name] += [(1000 * took["first_token_s"], 1000 * writing)] if number > 1 else []
    medians = {name: [round(median(values), 2) for values in zip(*pairs, strict=True)] for name, pairs in found.items()}
    return {"one visitor, p50 of first token and each further token, ms": medians}


def crowd(session, replicas: int, visitors: int) -> dict:
    def visit(number: int) -> list[dict]:
        messages = conversation(f"{replicas} {visitors} {number}")
        first = ask(session, messages, **OPTIONS)
        question = {"role": "user", "content": QUESTIONS[1]}
        return [first, ask(session, [*messages, {"role": "assistant", "content": first["text"]}, question], **OPTIONS)]

    began = time.perf_counter()
    with ThreadPoolExecutor(visitors) as pool:
        visits = list(pool.map(visit, range(visitors)))
    took = time.perf_counter() - began
    answers = [answer for visit in visits for answer in visit]
    cuts = quantiles([a["first_token_s"] for a in answers], n=20) if len(answers) > 1 else [0] * 19
    hits = sum(second["seen_tokens"] == 0 and second["reused_tokens"] > 0 for _, second in visits)
    return {"replicas": replicas, "visitors": visitors, "answers/s": len(answers) / took,
            "tokens/s": sum(a["answer_tokens"] for a in answers) / took,
            "first token p50, s": cuts[9], "p95, s": cuts[18], "second turns from cache": f"{hits} of {visitors}"}


def lost(session) -> float:
    """Kill the replica of an answer in its middle: the longest pause between two pieces, in seconds."""
    from serving.wire import conversation_of, pack

    messages, gaps, last = conversation(f"lost {time.time()}"), [], None
    place = session._handle.options(session_id=conversation_of(pack(messages)))
    for number, _ in enumerate(session.stream(messages, **STORY)):
        gaps, last = [*gaps, time.perf_counter() - last] if last else gaps, time.perf_counter()
        if number == 100:
            threading.Thread(target=lambda: os.kill(place.pid.remote().result(), signal.SIGKILL)).start()
    while len(session._handle.broadcast("pid").results()) < 2:
        time.sleep(0.5)
    return round(max(gaps), 2)


def table(rows: list[dict]) -> list[str]:
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=Path, metavar="MODEL_DIR", help="folder with an exported Qwen2-VL")
    parser.add_argument("--threads", type=int, default=1, help="of each replica (default: %(default)s)")
    parser.add_argument("--visitors", type=int, nargs="+", default=[1, 2, 5, 10, 20, 50], help="default: %(default)s")
    parser.add_argument("--kills", type=int, default=3, help="default: %(default)s")
    options = parser.parse_args()
    if missing := why_no_model(options.model_dir):
        parser.error(missing)
    return options


if __name__ == "__main__":
    sys.exit(main())
