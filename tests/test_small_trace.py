"""export/small_trace.py: a smaller picture to trace with, and the same model to the last byte."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from export import small_trace
from export.command import CHILD_ENVIRONMENT


@pytest.mark.parametrize("family", ["qwen25", "qwen3"])
def test_what_is_exported_is_what_optimum_cli_exports(tmp_path, family, request):
    """On a Qwen2.5-VL, whose windowed attention depends more on a picture's size than Qwen2-VL's attention does, and on
    a Qwen3-VL, whose patches are larger.
    """
    ours = request.getfixturevalue(f"{family}_dir")
    source, plain = ours.with_name(f"source of {family}"), tmp_path / "plain"
    command = [sys.executable, "-m", "optimum.commands.optimum_cli", "export", "openvino", "--model", source]
    subprocess.run([*command, "--task", "image-text-to-text", "--weight-format", "fp32", plain], check=True,
                   capture_output=True, env={**os.environ, **CHILD_ENVIRONMENT})
    names = {path.name for path in plain.iterdir()}
    assert "openvino_vision_embeddings_merger_model.bin" in names
    assert [name for name in names if (plain / name).read_bytes() != (ours / name).read_bytes()] == []


def test_the_made_up_picture_is_small(monkeypatch):
    from optimum.exporters.openvino.input_generators import DummyQwen2VLVisionEmbedInputGenerator as MadeUp

    monkeypatch.setattr(MadeUp, "__init__", MadeUp.__init__)  # puts it back afterwards
    before = MadeUp("", vision()).generate("hidden_states")
    small_trace.trace_with_small_pictures()
    after = MadeUp("", vision()).generate("hidden_states")
    assert (tuple(before.shape), tuple(after.shape)) == ((30 * 30, 64), (8 * 8, 64))


def vision() -> SimpleNamespace:
    config = SimpleNamespace(temporal_patch_size=2, patch_size=14, num_heads=4, embed_dim=64)
    return SimpleNamespace(config=config, use_embed_dim=True)
