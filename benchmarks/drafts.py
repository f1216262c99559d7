"""What guessing tokens gives: `python benchmarks/drafts.py MODEL_DIR [--practice DIR]`.

Two things that must not be measured on one model, shown apart. How many guesses stand: on the practice model, whose
answers mean something; a model of random weights repeats itself, and every guess would stand. What reading several
tokens at once costs: on MODEL_DIR, a model of real size. Then what both would give together. Writes
benchmarks/results-guesses.json.

Not here: how guesses are made (`session/drafts.py`), other speeds (`benchmark.py`).
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, the helpers lie one above

from benchmarks.processes import in_own_process, report, why_no_model  # noqa: E402
from environment.telemetry import turn_off_library_telemetry  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results/drafts.json"
ASKED = {  # of tiny_model.evaluate: how the README calls it
    "describe": "a description", "follow_up": "a follow-up", "chat": "after five to ten other questions",
}  # fmt: skip
PREFIX = 450  # tokens read before: a picture and a question
NEW_TOKENS = 80


def main() -> None:
    options = read_options()
    turn_off_library_telemetry()
    if options.child:
        part = {"stand": lambda: stand(options.practice, options.count), "cost": lambda: cost(options.model)}
        return report(part[options.child]())
    given = [str(options.model), "--practice", str(options.practice), "--count", str(options.count)]
    stood = in_own_process(__file__, [*given, "--child", "stand"])
    milliseconds = {int(n): ms for n, ms in in_own_process(__file__, [*given, "--child", "cost"]).items()}
    rows = [row(kind, milliseconds, **counted) for kind, counted in stood.items()]
    RESULTS.write_text(json.dumps({"milliseconds": milliseconds, "asked": rows}, indent=1) + "\n", encoding="utf-8")
    print("Tokens read at once:", ", ".join(f"{n} in {ms:.0f} ms" for n, ms in milliseconds.items()))
    for found in rows:
        words = (f"{name}: {value:.3g}" if isinstance(value, float) else value for name, value in found.items())
        print(*words, sep=" · ")


def row(kind: str, milliseconds: dict[int, float], answers: int, same: int, steps: dict[str, int]) -> dict:
    """steps: {tokens read at once: how often}. Every step gives one token and those of its guesses that stood."""
    tokens, reads = steps.pop("tokens"), {int(n): count for n, count in steps.items()}
    took = sum(milliseconds[n] * count for n, count in reads.items())
    return {
        "asked": ASKED[kind], "answers": answers, "the same without guesses": same / answers,
        "tokens a step": tokens / sum(reads.values()), "speed on MODEL_DIR": milliseconds[1] * tokens / took,
    }  # fmt: skip


# ---- the children ----------------------------------------------------------------------------------------------------


def stand(practice: Path, count: int) -> dict[str, dict]:
    """{kind: answers, how many are the same without guesses, steps} of the practice model's exports in `practice`."""
    from benchmarks.engines.session import open_session
    from tiny_model import evaluate

    sessions = [open_session(practice, **options) for options in ({}, {"guesses": 0})]
    found = {}
    for kind in ASKED:
        rng = random.Random(f"{evaluate.HELD_OUT} guesses {kind}")
        cases = [evaluate.make_case(rng, kind) for _ in range(count)]
        steps, same = Counter(), 0
        for case in cases:
            guessing, plain = (s.stream(case.messages, max_new_tokens=NEW_TOKENS, do_sample=False) for s in sessions)
            same += "".join(guessing) == "".join(plain)
            steps.update(guessing.stats.steps)
            steps["tokens"] += guessing.stats.answer_tokens - 1  # the first one comes with the prompt
        found[kind] = {"answers": count, "same": same, "steps": steps}
    return found


def cost(folder: Path) -> dict[int, float]:
    """{tokens read at once: milliseconds}, medians, taken in turn because a machine's speed changes by the minute."""
    import numpy as np

    from benchmarks.engines.session import open_session
    from session.ov_model import MAX_LOGIT_ROWS

    model = open_session(folder)._model
    cache, rng, times = model.new_cache(), random.Random(0), {n: [] for n in range(1, MAX_LOGIT_ROWS + 1)}

    def read(tokens: int) -> float:
        embeddings = model.embed([rng.randrange(1000) for _ in range(tokens)])
        places = np.tile(np.arange(cache.length, cache.length + tokens), (3, 1))
        began = time.perf_counter()
        cache.read(embeddings, places)
        return 1000 * (time.perf_counter() - began)

    read(PREFIX)
    for _ in range(40):
        for tokens, found in times.items():
            read(tokens)  # the first one of a size finds another size's memory
            found.append(read(tokens))
    return {tokens: median(found) for tokens, found in times.items()}


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL_DIR", help="folder with an exported Qwen2-VL of real size")
    parser.add_argument("--practice", type=Path, metavar="DIR", default=ROOT / "build" / "INT4",
                        help="the practice model's export; default: tiny_model/README.md's, build/INT4")  # fmt: skip
    parser.add_argument("--count", type=int, default=60, help="questions of each kind; default: 60")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for folder in (options.model, options.practice):
        if missing := why_no_model(folder):
            parser.error(missing)
    return options


if __name__ == "__main__":
    main()
