"""A Qwen2.5-VL of random weights, small enough to export in seconds: for its windows and its clock, not its answers."""

from pathlib import Path

import torch
from transformers import (
    AutoProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
)


def write(folder: Path, practice_dir: Path) -> Path:
    """Write the model to `folder`, with the practice model's tokenizer and pixel budget."""
    practice = AutoProcessor.from_pretrained(practice_dir)
    known = Qwen2VLConfig.from_pretrained(practice_dir)
    tokens = {name: value for name, value in known.to_dict().items() if name.endswith("token_id")}
    text = {
        "vocab_size": len(practice.tokenizer), "hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096, "initializer_range": 0.1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
        "eos_token_id": practice.tokenizer.eos_token_id,
    }  # fmt: skip
    vision = {
        "depth": 2, "hidden_size": 64, "out_hidden_size": 128, "num_heads": 4, "intermediate_size": 128,
        "window_size": 56, "fullatt_block_indexes": [1], "tokens_per_second": 2, "initializer_range": 0.1,
    }  # fmt: skip
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, initializer_range=0.1, **tokens)
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    Qwen2_5_VLProcessor(
        image_processor=practice.image_processor, tokenizer=practice.tokenizer,
        video_processor=practice.video_processor, chat_template=practice.chat_template,
    ).save_pretrained(folder)  # fmt: skip
    return folder
