"""A video of 20 minutes, asked about from its file: `python -m benchmarks long-video MODEL_DIR`.

The session decodes what it needs of it, keeps a few frames, and answers about these. Not here: what more frames would
cost (`video.py`), whether the answer is right.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.options import add_model_dir
from benchmarks.processes import peak_rss_mb

WIDTH, HEIGHT = 640, 360  # pixels
FPS = 10
QUESTION = "What moves?"
NEW_TOKENS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_dir(parser)
    parser.add_argument("--minutes", type=float, default=20, help="default: 20")


def run(options: argparse.Namespace) -> int:
    from benchmarks.engines.session import Engine
    from session.vision_inputs import sampling_of

    frames = int(options.minutes * 60 * FPS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp4"
        write_video(path, frames)
        engine = Engine(options.model_dir)
        part = {"type": "video", "video": str(path)}
        kept = sampling_of(engine.session.processor, part).count(options.minutes * 60)
        content = [part, {"type": "text", "text": QUESTION}]
        reply = engine.ask([{"role": "user", "content": content}], NEW_TOKENS)
    print(
        f"{options.minutes:g} minutes ({frames} frames of {WIDTH} × {HEIGHT}), "
        f"{kept} kept: {reply.visual_tokens} visual tokens, first token after {reply.first_token_s:.1f} s, "
        f"decoding and the first inference included; peak memory {peak_rss_mb():.0f} MB"
    )
    return 0


def write_video(path: Path, frames: int) -> None:
    """A grey square that crosses the picture once, as MPEG-4."""
    import av
    import numpy as np

    side = HEIGHT // 4
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(frames):
            pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
            left = (WIDTH - side) * number // frames
            pixels[side : 2 * side, left : left + side] = 128
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
