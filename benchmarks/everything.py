"""All figures of the pages on speed, one after the other: `python -m benchmarks everything BUILD_DIR`.

On an idle machine, about 35 minutes on two cores once the models are there (making them: 8 more). A step that ended
well is not run again: after a failure, or Ctrl-C, the same command goes on; `--anew` measures all of them again. Each
writes its file of results/, those with engines with the processor. Then `report` puts them into the pages.

Not here: serving, the API, exports, long videos, which change rarely and have commands of their own.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import records
from benchmarks.processes import ROOT
from catalog.presets import PRESETS

PEERS = "generate,session,genai-pa,genai-sdpa,llama-cpp"
FASTEST_PEER = "generate,session,genai-pa"  # of those, where one picture takes half a minute


@dataclass(frozen=True)
class Step:
    """name: of the step, and of the file that says it is done. minutes: about, on two idle cores. command: arguments
    of `python -m benchmarks`. makes: a folder that is not made again where it is there.
    """

    name: str
    minutes: float
    command: list
    makes: Path | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("build", type=Path, help="folder for models and for what is done: build")
    parser.add_argument("--anew", action="store_true", help="measure again what is done")
    parser.add_argument("--list", action="store_true", help="only say what there is to do")


def steps(build: Path) -> list[Step]:
    """In order: what a later one needs, first; what the README shows, before what docs/speed.md shows."""
    random_2b, gguf, exports = build / "random-2b", build / "random-2b-gguf", build / "presets" / "2b"
    model, smallest = (exports / PRESETS[name].folder for name in ("balanced", "smallest"))
    speed = ["speed", model, "--gguf", gguf]
    return [
        Step("random-2b", 1, ["random-model", random_2b], random_2b),
        Step("gguf", 1, ["gguf-model", random_2b, gguf], gguf),
        Step("export", 2, ["export", random_2b, model], model),
        Step("export-smallest", 2, ["export", random_2b, smallest, "--preset", "smallest"], smallest),
        Step("settings", 3, ["settings", model, "--json", records.SETTINGS]),
        Step("speed", 6, [*speed, "--engines", PEERS, "--repetitions", 2, "--json", records.SPEED,
                          "--record", "2b", "--where", records.processor()]),
        Step("speed-smallest", 1, ["speed", smallest, "--engines", "session", "--repetitions", 2,
                                   "--json", records.SPEED_SMALLEST]),
        Step("speed-1280", 4, [*speed, "--engines", FASTEST_PEER, "--repetitions", 1, "--visual-tokens", 1280,
                               "--json", records.SPEED_1280]),
        Step("growth", 17, ["growth", model, "--gguf", gguf, "--engines", f"{FASTEST_PEER},llama-cpp",
                            "--json", records.GROWTH, "--plot", ROOT / "docs" / "growth.png"]),
        Step("drafts", 2, ["drafts", model]),
    ]  # fmt: skip


def run(options: argparse.Namespace) -> int:
    done = options.build / "measured"
    done.mkdir(parents=True, exist_ok=True)
    todo = [step for step in steps(options.build) if not is_done(step, done, options.anew)]
    print(f"{len(todo)} steps, about {sum(step.minutes for step in todo):g} minutes:", *(step.name for step in todo))
    if options.list:
        return 0
    for step in todo:
        print(f"\n== {step.name}, about {step.minutes:g} minutes; load before it: {load()}", flush=True)
        began = time.monotonic()
        arguments = [str(part.resolve() if isinstance(part, Path) else part) for part in step.command]
        ended = subprocess.run([sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT)
        if ended.returncode:
            print(f"{step.name} failed; the same command goes on with it.", file=sys.stderr)
            return ended.returncode
        (done / step.name).touch()
        print(f"== {step.name}: {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    return 0


def is_done(step: Step, done: Path, anew: bool) -> bool:
    return step.makes.exists() if step.makes else (done / step.name).exists() and not anew


def load() -> str:
    """The processes that wanted a core in the last minute: others than ours make the figures worthless."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "not known"
