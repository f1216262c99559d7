"""A Qwen3-VL of random weights, small enough to export in seconds: for DeepStack and time stamps, not its answers."""

from pathlib import Path

import torch
from transformers import (
    AutoProcessor,
    Qwen2VLConfig,
    Qwen2VLImageProcessorFast,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

PATCHES = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
BUDGET = {"shortest_edge": 4 * 32 * 32, "longest_edge": 64 * 32 * 32}


def write(folder: Path, practice_dir: Path) -> Path:
    """Write the model to `folder`, with the practice model's tokenizer, and a processor like the hub's."""
    practice = AutoProcessor.from_pretrained(practice_dir)
    known = Qwen2VLConfig.from_pretrained(practice_dir)
    tokens = {name: value for name, value in known.to_dict().items() if name.endswith("token_id")}
    text = {
        "vocab_size": len(practice.tokenizer), "hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 4096,
        "initializer_range": 0.1, "eos_token_id": practice.tokenizer.eos_token_id,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [6, 5, 5],
                            "mrope_interleaved": True},
    }  # fmt: skip
    vision = {
        "depth": 4, "hidden_size": 64, "out_hidden_size": 128, "num_heads": 4, "intermediate_size": 128,
        "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1, 2], "initializer_range": 0.1,
    }  # fmt: skip
    torch.manual_seed(0)
    config = Qwen3VLConfig(text_config=text, vision_config=vision, initializer_range=0.1, **tokens)
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessorFast(size=dict(BUDGET), **PATCHES), tokenizer=practice.tokenizer,
        video_processor=Qwen3VLVideoProcessor(size={**BUDGET, "longest_edge": 256 * 32 * 32}, **PATCHES),
        chat_template=practice.chat_template,
    ).save_pretrained(folder)  # fmt: skip
    return folder
