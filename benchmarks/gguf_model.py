"""The same random weights for llama.cpp: `python -m benchmarks gguf-model RANDOM_MODEL OUT`.

Of what the command random-model wrote for a Qwen2-VL, OUT/model.gguf has the language model, OUT/mmproj.gguf the vision
encoder. The language model is in Q4_0 with its output layer in Q6_K, which is what `llama-quantize ... Q4_0` makes of
it; the vision encoder is in Q8_0, because the exporter writes it in 8 bits, too. Needs gguf (requirements-bench.txt).
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Not here: running it (`engines/llama_cpp.py`).
"""

from __future__ import annotations  # NumPy is imported where it is used: other commands must not hold it

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.options import UsageError
from benchmarks.random_model import old_name

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter

LANGUAGE_MODEL, VISION_ENCODER = "model.gguf", "mmproj.gguf"
EMBEDDINGS = "model.embed_tokens.weight"
PATCH_EMBEDDING = "visual.patch_embed.proj.weight"
MERGER_LAYERS = 3  # behind the vision blocks: product, GELU, product
SMALL = 0.001  # where other weights have a standard deviation of 0.02
ROWS_AT_ONCE = 1 << 14  # of a matrix, while it is quantized
BLOCK, GROUP = 256, 16  # weights of one block of Q6_K, and of one group in it that has a scale of its own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="RANDOM_MODEL", help="what the command random-model wrote")
    parser.add_argument("out", type=Path, help="folder to write the two files to: 1.6 GB for 2b")


def run(options: argparse.Namespace) -> int:
    try:
        config = json.loads((options.model / "config.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{options.model} holds no model; write one with the command random-model.") from error
    if config["model_type"] != "qwen2_vl" or "text_config" not in config:
        raise UsageError(f"{options.model} is not a Qwen2-VL in the new layout; random-model writes one.")
    write(options.model, config, options.out)
    sizes = [f"{name} {(options.out / name).stat().st_size / 1e9:.2f} GB" for name in (LANGUAGE_MODEL, VISION_ENCODER)]
    print(f"{', '.join(sizes)} in {options.out}")
    return 0


def write(model: Path, config: dict, out: Path) -> None:
    """Both files, one after the other: each is in memory, quantized, until it is written."""
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, GGUFWriter, get_tensor_name_map

    out.mkdir(parents=True, exist_ok=True)
    text, vision = config["text_config"], config["vision_config"]
    language_model = GGUFWriter(out / LANGUAGE_MODEL, MODEL_ARCH_NAMES[MODEL_ARCH.QWEN2VL])
    describe_language_model(language_model, text)
    describe_tokenizer(language_model, model, text)
    names = get_tensor_name_map(MODEL_ARCH.QWEN2VL, text["num_hidden_layers"])
    add_tensors(language_model, names, language_tensors(model))
    finish(language_model)

    encoder = GGUFWriter(out / VISION_ENCODER, "clip")
    describe_encoder(encoder, vision, json.loads((model / "processor_config.json").read_text(encoding="utf-8")))
    numbered = max(vision["depth"], MERGER_LAYERS)
    add_tensors(encoder, get_tensor_name_map(MODEL_ARCH.MMPROJ, numbered), vision_tensors(model))
    finish(encoder)


def finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# ---- what the files say about the model ------------------------------------------------------------------------------


def describe_language_model(writer: GGUFWriter, text: dict) -> None:
    from gguf import LlamaFileType

    rope = text["rope_parameters"]
    writer.add_block_count(text["num_hidden_layers"])
    writer.add_context_length(text["max_position_embeddings"])
    writer.add_embedding_length(text["hidden_size"])
    writer.add_feed_forward_length(text["intermediate_size"])
    writer.add_head_count(text["num_attention_heads"])
    writer.add_head_count_kv(text["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(text["rms_norm_eps"])
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_sections([*rope["mrope_section"], 0])  # M-RoPE; the fourth is for other models
    writer.add_file_type(LlamaFileType.MOSTLY_Q4_0)


def describe_tokenizer(writer: GGUFWriter, model: Path, text: dict) -> None:
    """A byte-level BPE, whose ids that no token has are filled up to the model's vocabulary."""
    from gguf import TokenType

    tokenizer = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    special = {token["content"] for token in tokenizer["added_tokens"]}
    ids = tokenizer["model"]["vocab"] | {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    tokens = [f"[UNUSED{number}]" for number in range(text["vocab_size"])]
    types = [TokenType.UNUSED] * len(tokens)
    for token, number in ids.items():
        tokens[number] = token
        types[number] = TokenType.CONTROL if token in special else TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(text["eos_token_id"])
    writer.add_bos_token_id(text["bos_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template((model / "chat_template.jinja").read_text(encoding="utf-8"))


def describe_encoder(writer: GGUFWriter, vision: dict, processor: dict) -> None:
    from gguf import LlamaFileType, VisionProjectorType

    images = processor["image_processor"]
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type(VisionProjectorType.QWEN2VL)
    writer.add_vision_projection_dim(vision["hidden_size"])
    writer.add_vision_image_size(560)  # nothing depends on it: pictures keep their own size
    writer.add_vision_patch_size(vision["patch_size"])
    writer.add_vision_embedding_length(vision["embed_dim"])
    writer.add_vision_feed_forward_length(int(vision["embed_dim"] * vision["mlp_ratio"]))
    writer.add_vision_block_count(vision["depth"])
    writer.add_vision_head_count(vision["num_heads"])
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_image_mean(images["image_mean"])
    writer.add_vision_image_std(images["image_std"])
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)


# ---- tensors ---------------------------------------------------------------------------------------------------------


def language_tensors(model: Path) -> Iterator[tuple[str, np.ndarray, str]]:
    """(Transformers' name, values, type of a matrix)."""
    for name, values in tensors(model):
        if name == EMBEDDINGS:
            yield name, without_zeros(values), "Q6_K"
        elif not name.startswith("visual."):
            yield name, values, "Q4_0"


def without_zeros(rows: np.ndarray) -> np.ndarray:
    """Rows of zeros, tokens that are never generated, with numbers too small to change that: of a token whose embedding
    is zero, llama.cpp computes NaN.
    """
    import numpy as np

    small = np.random.default_rng(0).normal(0, SMALL, rows.shape).astype(np.float32)
    return np.where(rows.any(axis=1, keepdims=True), rows, small)


def vision_tensors(model: Path) -> Iterator[tuple[str, np.ndarray, str]]:
    """The same, with q, k and v apart, and the two frames of the patch embedding, as llama.cpp wants them."""
    import numpy as np

    for name, values in tensors(model):
        if ".qkv." in name:
            for part, matrix in zip("qkv", np.split(values, 3), strict=True):
                yield name.replace("qkv", part), matrix, "Q8_0"
        elif name == PATCH_EMBEDDING:
            yield name, values[:, :, 0], "F16"
            yield f"{name}.1", values[:, :, 1], "F16"
        elif name.startswith("visual."):
            yield name, values, "Q8_0"


def tensors(model: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor of the model, in float32, by its name on the hub."""
    import torch
    from safetensors import safe_open

    for file in sorted(model.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118, which takes it for a dict
                yield old_name(name), opened.get_tensor(name).to(torch.float32).numpy()


def add_tensors(writer: GGUFWriter, names, found: Iterator[tuple[str, np.ndarray, str]]) -> None:
    """Matrices in the type that is named; biases and norms in float32. names: from Transformers' to llama.cpp's."""
    import numpy as np
    from gguf import GGMLQuantizationType

    for name, values, kind in found:
        translated = names.get_name(name, try_suffixes=(".weight.1", ".weight", ".bias"))
        if values.ndim == 1:
            writer.add_tensor(translated, values)
        elif kind == "F16":
            writer.add_tensor(translated, values.astype(np.float16))
        else:
            writer.add_tensor(translated, quantized(values, kind), raw_dtype=GGMLQuantizationType[kind])


def quantized(matrix: np.ndarray, kind: str) -> np.ndarray:
    """`matrix` (rows, columns) as bytes (rows, bytes of a row), some rows at a time: that spares memory."""
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    parts = [matrix[first : first + ROWS_AT_ONCE] for first in range(0, len(matrix), ROWS_AT_ONCE)]
    if kind == "Q6_K":  # which the package reads, but does not write
        return np.concatenate([q6_k(part) for part in parts])
    return np.concatenate([quantize(part, GGMLQuantizationType[kind]) for part in parts])


def q6_k(rows: np.ndarray) -> np.ndarray:
    """Q6_K: blocks of 256 weights, 6 bits each, in 16 groups with a scale of 8 bits, and one float16 for all of them.

    Nearest scales, without llama.cpp's search for better ones: the size and the speed are the same.
    """
    import numpy as np

    groups = rows.reshape(-1, BLOCK // GROUP, GROUP)
    scale = np.abs(groups).max(axis=2) / 31
    step = (scale.max(axis=1, keepdims=True) / 127).astype(np.float16)
    exact_step = np.where(step == 0, 1, step).astype(np.float32)
    scale = np.rint(scale / exact_step).clip(max=127).astype(np.int8)
    divisor = (exact_step * np.where(scale == 0, 1, scale))[:, :, None]
    weights = (np.clip(np.rint(groups / divisor), -32, 31) + 32).astype(np.uint8)
    low = (weights & 15).reshape(-1, 2, 2, 64)  # two weights in a byte
    high = (weights >> 4).reshape(-1, 2, 4, 32)  # four of them
    packed = [
        (low[:, :, 0] | low[:, :, 1] << 4).reshape(len(low), -1),
        (high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6).reshape(len(high), -1),
        scale.view(np.uint8),
        step.view(np.uint8),
    ]
    return np.concatenate(packed, axis=1).reshape(len(rows), -1)
