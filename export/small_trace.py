"""`optimum-cli` as we run it: it traces the vision encoder with a small picture, which spares 7 GB of memory.

To trace a PyTorch model, the exporter runs it on a made-up picture, and torch's tracer keeps what every layer computes
until the end. Optimum Intel's picture is two frames of 420 × 420 pixels; with 32 layers that is more memory than
everything else in the export. No option of its command line changes the size. What is written is the same to the last
byte (tests/test_small_trace.py): a graph has no sizes of pictures in it.

Run as a script with optimum-cli's arguments. Not here: starting it (`export.run`), reading what it prints
(`export.output`).
"""

import functools

SIDE_PATCHES = 8  # 8 × 8, which is one window of Qwen2.5-VL's windowed attention


def trace_with_small_pictures() -> None:
    """Changes Optimum Intel's default for the made-up picture, in this process."""
    from optimum.exporters.openvino.input_generators import DummyQwen2VLVisionEmbedInputGenerator as MadeUp

    original = MadeUp.__init__

    @functools.wraps(original)
    def small(self, task, normalized_config, *args, **options):
        side = SIDE_PATCHES * normalized_config.config.patch_size
        original(self, task, normalized_config, *args, **{"width": side, "height": side, **options})

    MadeUp.__init__ = small


def main() -> None:
    from optimum.commands.optimum_cli import main as optimum_cli

    trace_with_small_pictures()
    optimum_cli()


if __name__ == "__main__":
    main()
