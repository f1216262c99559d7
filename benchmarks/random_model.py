"""A model of true size with random weights, for what depends on size alone: `python -m benchmarks random-model OUT`.

Qwen2-VL, Qwen2.5-VL or Qwen3-VL. It answers nonsense. Export it, load it, time it: memory and speed are those of the
real model, whose weights need a download. Written file by file, so that a 7B takes as much memory as its largest file.
The tokenizer and processor are the practice model's: 1024 of the 151 936 tokens are ever used. Not here: measuring
anything.
"""

from __future__ import annotations  # torch is imported where it is used: other commands must not hold it

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.shapes import SHAPES

if TYPE_CHECKING:
    import torch

FILE_SIZE = "2GB"
PICTURE_PIXELS = {"shortest_edge": 3136, "longest_edge": 12_845_056}  # min_pixels and max_pixels of the hub's models
EMBEDDINGS = "model.language_model.embed_tokens.weight"  # also the output layer, where there is none of its own
INITIALIZER_RANGE = 0.02  # Transformers' default


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="folder to write the model to: 4.4 GB for 2b, 16.6 GB for 7b")
    parser.add_argument("--size", choices=SHAPES, default="2b")
    parser.add_argument("--layout", choices=["new", "old"], default="new",
                        help="names as in Transformers 5, or as in the hub's checkpoints")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    parameters = write_model(SHAPES[options.size], options.out, options.layout)
    print(f"{parameters / 1e9:.2f} billion random parameters in {options.out}")
    return 0


def write_model(shape: dict, out: Path, layout: str = "new", file_size: str = FILE_SIZE) -> int:
    """Write a model of `shape` (a config as in catalog/shapes.py) to `out`; returns how many parameters it has.

    layout: "new" as Transformers 5 names things, "old" as the checkpoints on the hub do. The weights are the same.
    """
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from catalog.choices import PRACTICE_DIR

    config = config_of(shape)
    with torch.device("meta"):  # names and shapes without memory
        weights = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16).state_dict()
    if config.tie_word_embeddings:
        del weights["lm_head.weight"]
    out.mkdir(parents=True, exist_ok=True)
    processor = AutoProcessor.from_pretrained(PRACTICE_DIR)
    write_weights(weights, whole_words(processor.tokenizer), out, layout, file_size)
    write_config(config, out, layout)
    write_processor(processor, config, out)
    return sum(tensor.numel() for tensor in weights.values())


def write_weights(weights: dict, words: list[int], out: Path, layout: str, file_size: str) -> None:
    """Writes random numbers for the tensors `weights`, one file after another, and the index that names them."""
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file

    output_layer = "lm_head.weight" if "lm_head.weight" in weights else EMBEDDINGS
    seeds = {name: number for number, name in enumerate(weights)}
    sources = {old_name(name) if layout == "old" else name: name for name in weights}  # by the name in the file
    shards = split_torch_state_dict_into_shards(
        {name: weights[source] for name, source in sources.items()}, max_shard_size=file_size
    )
    for file, names in shards.filename_to_tensors.items():
        tensors = {}
        for name in names:
            source = sources[name]
            tensors[name] = random_tensor(source, weights[source].shape, seeds[source])
            if source == output_layer:
                keep_rows(tensors[name], words)
        save_file(tensors, out / file, metadata={"format": "pt"})
    if shards.is_sharded:
        index = {"metadata": shards.metadata, "weight_map": shards.tensor_to_filename}
        (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


def config_of(shape: dict):
    """The configuration of `shape`, with the practice model's special tokens."""
    from transformers import CONFIG_MAPPING

    from catalog.choices import PRACTICE_DIR

    practice = json.loads((PRACTICE_DIR / "config.json").read_text(encoding="utf-8"))
    tokens = {name: value for name, value in practice.items() if name.endswith("token_id")}
    text = {name: value for name, value in shape.items() if name not in ("model_type", "vision_config")}
    half_head = text["hidden_size"] // text["num_attention_heads"] // 2
    sections = [half_head * 2 // 8, half_head * 3 // 8, half_head * 3 // 8]  # time, height, width; hub: 16, 24, 24
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": sections}
    if shape["model_type"] == "qwen3_vl":  # of 64 numbers 24 are time's, and every third one another's
        text["rope_parameters"] |= {"mrope_section": [24, 20, 20], "mrope_interleaved": True}
    text["max_position_embeddings"] = 32768
    text |= {name: tokens[name] for name in ("bos_token_id", "eos_token_id")}
    return CONFIG_MAPPING[shape["model_type"]](
        text_config=text,
        vision_config=shape["vision_config"],
        tie_word_embeddings=text["tie_word_embeddings"],
        **tokens,
    )


def random_tensor(name: str, shape, seed: int) -> torch.Tensor:
    """As Transformers initialises a tensor of that name, in bfloat16; the same for the same seed."""
    import torch

    if name.endswith("bias"):
        return torch.zeros(shape, dtype=torch.bfloat16)
    if len(shape) == 1:  # a norm
        return torch.ones(shape, dtype=torch.bfloat16)
    generator = torch.Generator().manual_seed(seed)
    return torch.empty(shape, dtype=torch.bfloat16).normal_(0, INITIALIZER_RANGE, generator=generator)


def keep_rows(head: torch.Tensor, words: list[int]) -> None:
    """Makes a model generate nothing but the tokens `words`."""
    import torch

    others = torch.ones(len(head), dtype=torch.bool)
    others[words] = False
    head[others] = 0


def whole_words(tokenizer) -> list[int]:
    """Tokens that stand for a word and the space before it: text of them is tokenized to the same tokens again."""
    return [token for token in range(len(tokenizer)) if re.fullmatch(" [a-z]+", tokenizer.decode([token]))]


# ---- the hub's older layout, and the files around the weights --------------------------------------------------------


def old_name(name: str) -> str:
    return name.replace("model.visual.", "visual.").replace("model.language_model.", "model.")


def flat(config: dict) -> dict:
    """A config with `text_config`, as Transformers 5 writes it, in the layout of the hub's checkpoints."""
    text = dict(config["text_config"])
    rope = text.pop("rope_parameters")
    for name in ("model_type", "layer_types", "dtype"):
        text.pop(name, None)
    top = {name: value for name, value in config.items() if name not in ("text_config", "dtype")}
    old_fields = {
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
        "torch_dtype": config.get("dtype", "bfloat16"),
        "transformers_version": "4.41.2",
    }
    return {**text, **top, **old_fields}


def write_config(config, out: Path, layout: str) -> None:
    config.architectures = [f"{family(config)}ForConditionalGeneration"]
    config.dtype = "bfloat16"
    config.save_pretrained(out)
    if layout == "old":
        file = out / "config.json"
        file.write_text(json.dumps(flat(json.loads(file.read_text())), indent=2))


def write_processor(practice, config, out: Path) -> None:
    """The practice model's processor as the class of this family of models, with the hub's limits for a picture."""
    import transformers

    practice.image_processor.size = dict(PICTURE_PIXELS)
    images, videos = practice.image_processor, practice.video_processor
    if config.model_type == "qwen3_vl":
        cutting = {"patch_size": config.vision_config.patch_size, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        images = type(images)(size=dict(PICTURE_PIXELS), **cutting)
        videos = transformers.Qwen3VLVideoProcessor()
    processor_class = getattr(transformers, f"{family(config)}Processor")
    processor_class(
        image_processor=images,
        tokenizer=practice.tokenizer,
        video_processor=videos,
        chat_template=practice.chat_template,
    ).save_pretrained(out)


def family(config) -> str:
    """What the names of Transformers' classes begin with: Qwen2VL, Qwen2_5_VL or Qwen3VL."""
    return type(config).__name__.removesuffix("Config")
