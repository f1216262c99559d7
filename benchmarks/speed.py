"""How long until the first token? Engines side by side: `python -m benchmarks speed MODEL_DIR`.

Each runs in a process of its own and is asked the same (`scenario.py`): a question about a picture, a follow-up, the
first question again (retry), another question about the same picture, and a question about a picture that was
prepared. ttft: seconds from asking to the first token, the median of warm repetitions, each with pictures of its own.

What counts is a ratio within one run. Not here: quality of answers, several visitors at once, videos (`video.py`).
"""

import argparse
import sys
import time
from pathlib import Path

from benchmarks import records
from benchmarks.engine_options import OPTIONAL, add_engines, check_engines, engine_arguments, opener, or_why_not
from benchmarks.options import UsageError, add_child, add_model_dir, add_record, check_plot, check_record
from benchmarks.processes import MEGABYTE, in_own_process, peak_rss_mb, report
from benchmarks.scenario import SIZES, figures, repetition, tokens, warm_up
from benchmarks.tables import combined, summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_dir(parser)
    add_engines(parser)
    parser.add_argument("--repetitions", type=int, default=3, help="warm ones in each process; default: 3")
    parser.add_argument("--new-tokens", type=int, default=32, help="of every answer; default: 32")
    parser.add_argument("--visual-tokens", type=int, choices=SIZES, default=384, help="of a picture; default: 384")
    parser.add_argument("--rounds", type=int, default=1, help="through all engines, to and fro; default: 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the seconds to the first token there, a PNG")
    add_record(parser, records.RUNS)
    add_child(parser)


def run(options: argparse.Namespace) -> int:
    check(options)
    if options.child:
        return report(or_why_not(options.child, lambda: measure(options)))
    reports: dict[str, list[dict]] = {engine: [] for engine in options.engines}
    for number in range(options.rounds):
        to_and_fro = options.engines if number % 2 == 0 else reversed(options.engines)
        for engine in to_and_fro:
            print(f"round {number + 1} of {options.rounds}: {engine} ...", file=sys.stderr, flush=True)
            reports[engine].append(in_own_process("speed", child_arguments(options, engine)))
    rows = {engine: combined(engine, reports[engine]) for engine in options.engines}
    print(*summary(list(rows.values()), reports), sep="\n")
    if options.json:
        records.write_rows(options.json, list(rows.values()))
    if options.plot:
        from benchmarks.plot import plot

        plot(list(rows.values()), options.plot)
    maintained = [found for engine in reports if engine not in OPTIONAL for found in reports[engine]]
    if any("reason" in found for found in maintained):
        return 1
    if options.record:
        records.record(records.RUNS, options.record, {**run_of(rows["session"]), "where": options.where})
    return 0


def run_of(row: dict) -> dict:
    """The figures of results/runs.json."""
    memory_bytes = round(row["peak_rss_mb"] * MEGABYTE)
    return {"memory_bytes": memory_bytes, "first_token_s": row["ttft_turn1_s"], "tokens_s": row["decode_tok_s"]}


def check(options: argparse.Namespace) -> None:
    """Raises UsageError."""
    check_engines(options)
    if options.repetitions < 1 or options.rounds < 1 or options.new_tokens < 2:
        raise UsageError("--repetitions and --rounds must be at least 1, --new-tokens at least 2.")
    check_plot(options)
    check_record(options)
    if options.record and "session" not in options.engines:
        raise UsageError("--record writes what the engine session took: name it in --engines.")


# ---- the child: one engine -------------------------------------------------------------------------------------------


def child_arguments(options: argparse.Namespace, engine: str) -> list:
    counts = ["--repetitions", options.repetitions, "--new-tokens", options.new_tokens]
    counts += ["--visual-tokens", options.visual_tokens]
    return [options.model_dir, "--child", engine, *counts, *engine_arguments(options)]


def measure(options: argparse.Namespace) -> dict:
    """One row, and the token counts and answers behind it. Imports are not timed."""
    load = opener(options, options.child)
    started = time.perf_counter()
    engine = load()
    load_s = time.perf_counter() - started
    warm_up(engine, options.new_tokens, options.visual_tokens)
    repetitions = [
        repetition(engine, number, options.new_tokens, options.visual_tokens) for number in range(options.repetitions)
    ]
    row = {"load_s": load_s, **figures(repetitions), "peak_rss_mb": peak_rss_mb()}
    texts = [{name: reply.text for name, reply in replies.items()} for replies in repetitions]
    return {"row": row, "tokens": tokens(repetitions[0]), "texts": texts}
