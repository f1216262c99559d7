"""A video of 20 minutes, asked about from its file: `python benchmarks/long_video.py MODEL_DIR`.

The session decodes all of it, keeps the frames that `session.media` states (MAX_FRAMES), and answers about these. Not
here: what more frames would cost (`video.py`), whether the answer is right.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, the helpers lie one above

from benchmarks.engines.session import Engine  # noqa: E402
from benchmarks.processes import peak_rss_mb, why_no_model  # noqa: E402
from environment.telemetry import turn_off_library_telemetry  # noqa: E402
from session.media import MAX_FRAMES  # noqa: E402

WIDTH, HEIGHT, RATE = 640, 360, 10


def write_video(path: Path, minutes: float) -> None:
    """A grey square that crosses the picture once, as MPEG-4."""
    count, side = int(minutes * 60 * RATE), HEIGHT // 4
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(count):
            pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
            left = (WIDTH - side) * number // count
            pixels[side : 2 * side, left : left + side] = 128
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=Path, metavar="MODEL_DIR", help="folder with an exported Qwen2-VL")
    parser.add_argument("--minutes", type=float, default=20, help="default: 20")
    options = parser.parse_args()
    if missing := why_no_model(options.model_dir):
        parser.error(missing)
    turn_off_library_telemetry()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp4"
        write_video(path, options.minutes)
        engine = Engine(options.model_dir, None)
        asked = {"type": "video", "video": str(path)}, {"type": "text", "text": "What moves?"}
        reply = engine.ask([{"role": "user", "content": list(asked)}], 8)
    print(
        f"{options.minutes:g} minutes ({int(options.minutes * 60 * RATE)} frames of {WIDTH} × {HEIGHT}), "
        f"{MAX_FRAMES} kept: {reply.visual_tokens} visual tokens, first token after {reply.first_token_s:.1f} s, "
        f"decoding and the first inference included; peak memory {peak_rss_mb():.0f} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
