"""What draft tokens give: `python -m benchmarks drafts MODEL_DIR [--practice DIR]`.

Two things that must not be measured on one model, shown apart. How many draft tokens are accepted: on the practice
model, whose answers mean something (a model of random weights repeats itself, and every draft would be accepted), and
on English text that is replayed (`replay.py`). What a forward pass of several tokens costs: on MODEL_DIR, a model of
real size. Then what both would give together. Writes benchmarks/results/drafts.json.

Not here: how tokens are drafted (`session.decode`), other speeds (`speed.py`).
"""

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median

from tabulate import tabulate

from benchmarks import records
from benchmarks.options import add_child, add_model_dir, exported_model
from benchmarks.processes import ROOT, in_own_process, needed, report

QUESTIONS = {  # of tiny_model.evaluate: how the README calls them
    "describe": "a description", "follow_up": "a follow-up", "chat": "after five to ten other questions",
}  # fmt: skip
PREFIX_TOKENS = 450  # in the KV cache before: a picture and a question
NEW_TOKENS = 80
ROUNDS = 40  # of forward passes, for their medians


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_dir(parser, help="folder with an exported Qwen-VL model of real size")
    parser.add_argument("--practice", type=exported_model, metavar="DIR", default=str(ROOT / "build" / "INT4"),
                        help="the practice model's export; default: tiny_model/README.md's, build/INT4")  # fmt: skip
    parser.add_argument("--count", type=int, default=60, help="questions of each kind; default: 60")
    add_child(parser)


def run(options: argparse.Namespace) -> int:
    if options.child == "acceptance":
        return report(acceptance(options.practice, options.count))
    if options.child == "step":
        return report(step_ms(options.model_dir))
    if options.child == "replay":
        from benchmarks.replay import replay
        from session.ov_model import MAX_LOGIT_ROWS

        return report(replay(MAX_LOGIT_ROWS - 1))
    given = [options.model_dir, "--practice", options.practice, "--count", options.count]
    accepted = needed("drafts", [*given, "--child", "acceptance"])
    milliseconds = {int(tokens): ms for tokens, ms in needed("drafts", [*given, "--child", "step"]).items()}
    rows = [row(QUESTIONS[kind], milliseconds, **counted) for kind, counted in accepted.items()]
    replayed = in_own_process("drafts", [*given, "--child", "replay"])
    if "reason" in replayed:
        print(f"No text was replayed (pip install -r requirements-bench.txt): {replayed['reason']}\n", file=sys.stderr)
    else:
        rows += [row(kind, milliseconds, **counted) for kind, counted in replayed.items()]
    records.write(records.DRAFTS, {"step_ms": milliseconds, "questions": rows})
    print("One forward pass:", ", ".join(f"{tokens} tokens {ms:.0f} ms" for tokens, ms in milliseconds.items()), "\n")
    cells = [[f"{value:.3g}" if isinstance(value, float) else value for value in row.values()] for row in rows]
    print(tabulate(cells, list(rows[0]), tablefmt="github", disable_numparse=True))
    return 0


def row(
    question: str, milliseconds: dict[int, float], answers: int, steps: dict[str, int], same: int | None = None
) -> dict:
    """same: how many answers are the same without drafts; None where that was not tried. steps: {tokens in one forward
    pass: how often}, and under "tokens" how many they gave: one each, and the draft tokens that were accepted. speedup:
    against one token a step, on a model whose steps take `milliseconds`.
    """
    passes = {int(tokens): count for tokens, count in steps.items() if tokens != "tokens"}
    taken_ms = sum(milliseconds[tokens] * count for tokens, count in passes.items())
    return {
        "question": question,
        "answers": answers,
        "same_without_drafts": None if same is None else same / answers,
        "tokens_per_step": steps["tokens"] / sum(passes.values()),
        "speedup": milliseconds[1] * steps["tokens"] / taken_ms,
    }


# ---- the children ----------------------------------------------------------------------------------------------------


def acceptance(practice: Path, count: int) -> dict[str, dict]:
    """{kind: arguments of `row`}: answers of the practice model's export in `practice`, with and without drafts."""
    from benchmarks.engines.session import open_session
    from tiny_model import evaluate

    drafting = open_session(practice)
    plain = open_session(practice, max_draft_tokens=0)
    limits = {"max_new_tokens": NEW_TOKENS, "do_sample": False}
    found = {}
    for kind in QUESTIONS:
        rng = random.Random(f"{evaluate.HELD_OUT} guesses {kind}")  # another text would draw other questions
        cases = [evaluate.make_case(rng, kind) for _ in range(count)]
        steps: Counter = Counter()
        same = 0
        for case in cases:
            answer = drafting.stream(case.messages, **limits)
            same += "".join(answer) == "".join(plain.stream(case.messages, **limits))
            steps.update(answer.stats.steps)
            steps["tokens"] += answer.stats.answer_tokens - 1  # the first one comes with the prompt
        found[kind] = {"answers": count, "same": same, "steps": steps}
    return found


def step_ms(folder: Path) -> dict[int, float]:
    """{tokens in one forward pass: milliseconds}, medians, taken in turn because a machine's speed changes by the
    minute.
    """
    import numpy as np

    from catalog.open import open_model
    from session.ov_model import MAX_LOGIT_ROWS, VisionLanguageModel

    model = VisionLanguageModel(open_model(folder, "CPU")[0])
    cache, rng = model.new_cache(), random.Random(0)

    def forward_ms(tokens: int) -> float:
        embeddings = model.embed([rng.randrange(1000) for _ in range(tokens)])
        position_ids = np.tile(np.arange(cache.length, cache.length + tokens), (3, 1))
        started = time.perf_counter()
        cache.forward(embeddings, position_ids)
        return 1000 * (time.perf_counter() - started)

    forward_ms(PREFIX_TOKENS)
    times: dict[int, list[float]] = {tokens: [] for tokens in range(1, MAX_LOGIT_ROWS + 1)}
    for _ in range(ROUNDS):
        for tokens, found in times.items():
            forward_ms(tokens)  # the first one of a size finds another size's memory
            found.append(forward_ms(tokens))
    return {tokens: median(found) for tokens, found in times.items()}
