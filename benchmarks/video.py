"""What long videos cost the vision encoder: `python -m benchmarks video MODEL_DIR`.

A session encodes a video slice by slice, two frames each. optimum-intel hands all slices over at once, and its
attention has a mask of all patches by all patches. Each row is measured in a process of its own; above_loading_mb is
by how much encoding the video raised the peak that loading, the pixels and one slice had left.

Not here: prefilling what was encoded, and anything about pictures (`speed.py`).
"""

import argparse
import sys
import time
from pathlib import Path

from tabulate import tabulate

from benchmarks.options import add_child, add_model_dir
from benchmarks.processes import in_own_process, peak_rss_mb, report

WAYS = ("slices", "at-once")
SIZE = (448, 448)
COLUMNS = ("frames", "visual_tokens", "way", "seconds", "peak_rss_mb", "above_loading_mb")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_dir(parser)
    parser.add_argument("--frames", type=counts, default=[8, 16, 32], metavar="N,N", help="default: 8,16,32")
    add_child(parser)


def counts(text: str) -> list[int]:
    """[8, 16] of "8,16"."""
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1:
        raise ValueError(text)  # argparse says which option it was
    return numbers


def run(options: argparse.Namespace) -> int:
    if options.child:
        return report(measure(options.model_dir, options.frames[0], options.child))
    rows, reasons = [], []
    for frames in options.frames:
        for way in WAYS:
            print(f"{frames} frames, {way} ...", file=sys.stderr, flush=True)
            found = in_own_process("video", [options.model_dir, "--frames", frames, "--child", way])
            if "reason" in found:
                reasons.append(f"{frames} frames, {way}: {found['reason']}")
            else:
                rows.append(cells(found))
    print(tabulate(rows, COLUMNS, tablefmt="github", disable_numparse=True), *reasons, sep="\n")
    return int(bool(reasons))


def cells(found: dict) -> list[str]:
    """One row of the table."""
    return [f"{found[name]:.3g}" if name == "seconds" else _shown(found[name]) for name in COLUMNS]


def _shown(value) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:.0f}"


# ---- the child: one way ----------------------------------------------------------------------------------------------


def measure(model_dir: Path, frames: int, way: str) -> dict:
    """Both ways go through the same compiled vision encoder, which has encoded one slice before."""
    model, session_model, item = load(model_dir, frames)
    session_model.encode(item.blocks[0])
    peak_before = peak_rss_mb()
    started = time.perf_counter()
    if way == "slices":
        features = [session_model.encode(block) for block in item.blocks]
    else:
        features = [model.get_vision_embeddings(item.inputs["pixel_values_videos"], item.inputs["video_grid_thw"])]
    seconds = time.perf_counter() - started
    peak = peak_rss_mb()
    return {
        "frames": frames,
        "visual_tokens": sum(one.shape[-2] for one in features),
        "way": way,
        "seconds": seconds,
        "peak_rss_mb": peak,
        "above_loading_mb": None if peak is None else peak - peak_before,
    }


def load(model_dir: Path, frames: int):
    """The model, the session's view of it, and a video of so many frames as patches."""
    from catalog.open import open_model
    from session.ov_model import VisionLanguageModel
    from session.prompt import build_prompt
    from tiny_model.scenes import Shape, draw_video

    video = draw_video(Shape("circle", "red", 0.3, 0.5, 0.2), "right", size=SIZE, frames=frames)
    model, processor = open_model(model_dir, "CPU")
    message = {"role": "user", "content": [{"type": "video", "video": video}]}
    item = build_prompt(processor, [message]).media[0]
    return model, VisionLanguageModel(model), item
