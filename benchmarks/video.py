"""What long videos cost the vision encoder: `python benchmarks/video.py MODEL_DIR`.

A session looks at a video slice by slice, two frames each. optimum-intel hands all slices over at once, and its
attention has a mask of all patches by all patches. Each line is measured in a process of its own;
above_loading_mb is by how much seeing the video raised the peak that loading, the pixels and one slice had left.

Not here: reading what was seen, and anything about pictures (`benchmark.py`).
"""

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, the helpers lie one above

from benchmarks.processes import in_own_process, peak_rss_mb, report, why_no_model  # noqa: E402
from environment.telemetry import turn_off_library_telemetry  # noqa: E402
from tiny_model.scenes import Shape, draw_video  # noqa: E402

WAYS = ("slices", "at-once")
SIZE = (448, 448)
COLUMNS = ("frames", "visual_tokens", "way", "seconds", "peak_rss_mb", "above_loading_mb")


def main() -> int:
    options = read_options()
    turn_off_library_telemetry()
    if options.child:
        report(measure(options.model_dir, options.frames[0], options.child))
        return 0
    print(*COLUMNS, sep="  ")
    failed = False
    for count in options.frames:
        for way in WAYS:
            found = in_own_process(__file__, [str(options.model_dir), "--frames", str(count), "--child", way])
            failed |= "reason" in found
            print(f"{count} frames, {way}: {found['reason']}" if "reason" in found else line(found), flush=True)
    return int(failed)


def measure(model_dir: Path, count: int, way: str) -> dict:
    """Both ways go through the same compiled vision encoder, which has seen one slice before."""
    model, session_model, medium = load(model_dir, count)
    slices = medium.blocks
    session_model.encode(slices[0])
    before, began = peak_rss_mb(), time.perf_counter()
    if way == "slices":
        seen = [session_model.encode(part) for part in slices]
    else:
        seen = [model.get_vision_embeddings(medium.inputs["pixel_values_videos"], medium.inputs["video_grid_thw"])]
    seconds, peak = time.perf_counter() - began, peak_rss_mb()
    above = None if peak is None else peak - before
    return dict(zip(COLUMNS, (count, sum(map(len, seen)), way, seconds, peak, above), strict=True))


def load(model_dir: Path, count: int):
    """The model, the session's view of it, and a video of `count` frames as patches."""
    from optimum.intel.openvino import OVModelForVisualCausalLM
    from transformers import AutoProcessor

    from session.ov_model import VisionLanguageModel
    from session.prompt import build_prompt

    frames = draw_video(Shape("circle", "red", 0.3, 0.5, 0.2), "right", size=SIZE, frames=count)
    message = {"role": "user", "content": [{"type": "video", "video": frames}]}
    medium = build_prompt(AutoProcessor.from_pretrained(model_dir), [message]).media[0]
    model = OVModelForVisualCausalLM.from_pretrained(model_dir, device="CPU", compile=False)
    return model, VisionLanguageModel(model), medium


def line(found: dict) -> str:
    def shown(value) -> str:
        return "–" if value is None else value if isinstance(value, str) else f"{value:.0f}"

    cells = [f"{found[name]:.3g}" if name == "seconds" else shown(found[name]) for name in COLUMNS]
    return "  ".join(cell.rjust(len(name)) for cell, name in zip(cells, COLUMNS, strict=True))


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=Path, metavar="MODEL_DIR", help="folder with an exported Qwen2-VL")
    parser.add_argument("--frames", type=counts, default=[8, 16, 32], metavar="N,N", help="default: 8,16,32")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if missing := why_no_model(options.model_dir):
        parser.error(missing)
    return options


def counts(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1:
        raise ValueError(text)  # argparse says which option it was
    return numbers


if __name__ == "__main__":
    sys.exit(main())
