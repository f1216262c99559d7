"""How the first turn grows with pictures and videos: `python -m benchmarks growth MODEL_DIR`.

Engines side by side (`engine_options.py`): square pictures of 224 to 1344 pixels (64 to 2304 visual tokens), and videos
of 8, 32 and 64 frames. Seconds to the first token, the median of up to ASKED questions, each about a picture of its
own; and the peak of memory after it, pictures and videos each in a process of their own. An engine that took longer
than LIMIT_S is not asked for more.

Not here: later turns and tokens/s (`speed.py`), what a video costs the encoder alone (`video.py`).
"""

import argparse
import sys
from itertools import product
from pathlib import Path
from statistics import median

from tabulate import tabulate

from benchmarks import records
from benchmarks.engine_options import (
    ENGINES,
    OPTIONAL,
    add_engines,
    check_engines,
    engine_arguments,
    opener,
    or_why_not,
)
from benchmarks.options import UsageError, add_child, add_model_dir, check_plot
from benchmarks.processes import in_own_process, peak_rss_mb, report
from benchmarks.scenario import QUESTION, scene, user
from benchmarks.tables import shown

SIDES = (224, 448, 896, 1344)  # pixels
FRAMES = (8, 32, 64)
VIDEO_SIDE = 224  # pixels of a frame: 64 visual tokens for each pair of frames
CASES = {"pictures": SIDES, "videos": FRAMES}
NAMES = {"pictures": "{0} × {0}", "videos": "{0} frames"}
ASKED, ENOUGH_S = 3, 10  # questions of one case; no more of them after so many seconds
LIMIT_S = 60
NEW_TOKENS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_dir(parser)
    add_engines(parser)
    parser.add_argument("--sides", type=numbers, default=SIDES, metavar="N,N", help="pixels; default: all four")
    parser.add_argument("--frames", type=numbers, default=FRAMES, metavar="N,N", help="default: 8,32,64")
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(CASES), metavar="A,B",
                        help=f"default: {','.join(CASES)}")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, after each engine")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them there, a PNG")
    add_child(parser)


def numbers(text: str) -> tuple[int, ...]:
    """(8, 32) of "8,32"."""
    return tuple(sorted(int(part) for part in text.split(",")))


def run(options: argparse.Namespace) -> int:
    check_engines(options)
    check_plot(options)
    if min(options.sides + options.frames, default=0) < 2:
        raise UsageError("--sides and --frames are numbers of 2 and more.")
    if options.child:
        engine, kind = options.child.split(":")
        return report(or_why_not(engine, lambda: measure(options, engine, kind)))
    if unknown := set(options.kinds) - set(CASES):
        raise UsageError(f"there is no kind {min(unknown)!r}; there are {', '.join(CASES)}.")
    rows, reasons, failed = measured_before(options.json), [], False
    for kind, engine in product(options.kinds, options.engines):
        print(f"{engine}, {kind} ...", file=sys.stderr, flush=True)
        found = in_own_process("growth", child_arguments(options, f"{engine}:{kind}"))
        rows = [row for row in rows if (row["engine"], row["kind"]) != (engine, kind)] + found.get("rows", [])
        if "reason" in found:
            reasons.append(f"{engine}, {kind}: {found['reason']}")
            failed |= "rows" not in found and engine not in OPTIONAL
        if options.json:
            records.write_rows(options.json, rows)
    print(table(rows), "", *reasons, sep="\n")
    if options.plot:
        from benchmarks.plot import plot_growth

        plot_growth(rows, options.plot)
    return int(failed)


def measured_before(file: Path | None) -> list[dict]:
    """Rows of `file` that are of this processor."""
    if file is None or not file.exists():
        return []
    found = records.read(file)
    return found["rows"] if found["processor"] == records.processor() else []


def child_arguments(options: argparse.Namespace, child: str) -> list:
    cases = ["--sides", ",".join(map(str, options.sides)), "--frames", ",".join(map(str, options.frames))]
    named = ["--engines", child.partition(":")[0]]
    return [options.model_dir, "--child", child, *named, *cases, *engine_arguments(options)]


def table(rows: list[dict], names: dict[str, str] | None = None) -> str:
    """A row for each picture and video, a column for each engine: seconds, and the peak of memory behind them. names:
    of engines, for people.
    """
    engines = [engine for engine in ENGINES if any(row["engine"] == engine for row in rows)]
    cells: dict[tuple[str, int], dict[str, str]] = {}
    for row in rows:
        memory = "" if row["peak_rss_mb"] is None else f" ({row['peak_rss_mb'] / 1e3:.2f} GB)"
        cells.setdefault((row["kind"], row["size"]), {})[row["engine"]] = shown(row["first_token_s"]) + memory
    lines = [
        [NAMES[kind].format(size), *(cells[of, size].get(engine, "–") for engine in engines)]
        for kind, (of, size) in product(CASES, sorted(cells))
        if of == kind
    ]
    headers = ["", *((names or {}).get(engine, engine) for engine in engines)]
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True)


# ---- the child: one engine, pictures or videos ---------------------------------------------------------------------


def measure(options: argparse.Namespace, engine: str, kind: str) -> dict:
    """{"rows": one for each size}; {"rows": ..., "reason": why not} where the engine ended before the last size."""
    asked = opener(options, engine)()
    sizes = options.sides if kind == "pictures" else options.frames
    rows: list[dict] = []
    try:
        asked.ask([message(kind, sizes[0], -1)], NEW_TOKENS)  # the first inference costs seconds more than later ones
        for size in sizes:
            if rows and rows[-1]["first_token_s"] > LIMIT_S:
                return {"rows": rows, "reason": f"it took more than {LIMIT_S} s, so it was not asked for more"}
            seconds, reply = first_turns(asked, kind, size)
            figures = {"first_token_s": seconds, "prompt_tokens": reply.prompt_tokens, "peak_rss_mb": peak_rss_mb()}
            rows.append({"engine": engine, "kind": kind, "size": size, **figures})
    except Exception as error:
        if not rows and engine not in OPTIONAL:
            raise
        return {"rows": rows, "reason": f"{type(error).__name__}: " + " ".join(str(error).split())[:300]}
    return {"rows": rows}


def first_turns(engine, kind: str, size: int):
    """(median of the seconds to the first token, the last reply)."""
    seconds: list[float] = []
    while len(seconds) < ASKED and sum(seconds) < ENOUGH_S:
        reply = engine.ask([message(kind, size, len(seconds))], NEW_TOKENS)
        seconds.append(reply.first_token_s)
    return median(seconds), reply


def message(kind: str, size: int, number: int) -> dict:
    """A question about a picture, or a video, that no other question is about."""
    if kind == "pictures":
        return user(QUESTION, scene(f"growth {size} {number}", (size, size)))
    first = scene(f"growth, video {size} {number}", (VIDEO_SIDE, VIDEO_SIDE))
    frames = [first.rotate(360 * frame / size) for frame in range(size)]  # no frame twice: a session would know it
    content = [{"type": "video", "video": frames, "fps": 2.0}, {"type": "text", "text": QUESTION}]
    return {"role": "user", "content": content}
