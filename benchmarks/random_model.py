"""A Qwen2-VL of true size with random weights, for what depends on size alone: `python benchmarks/random_model.py OUT`.

It answers nonsense. Export it, load it, time it: memory and speed are those of the real model, whose weights need a
download. The tokenizer and processor are the practice model's: 1024 of the 151 936 words are ever used.
Not here: measuring anything.
"""

import argparse
import re
import sys
from pathlib import Path

import torch
from transformers import AutoProcessor, Qwen2VLConfig, Qwen2VLForConditionalGeneration

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, the helpers lie one above

from tutorial.costs import CONFIG_2B, CONFIG_7B, PRACTICE_DIR  # noqa: E402

SIZES = {"2b": CONFIG_2B, "7b": CONFIG_7B}


def random_model(size: str, practice: dict, words: list[int]) -> Qwen2VLForConditionalGeneration:
    """A model of the shape of Qwen2-VL `size`, in bfloat16, whose special tokens are those of the config `practice`,
    and which writes nothing but the tokens `words`.
    """
    shape = dict(SIZES[size])
    vision = {**shape.pop("vision_config"), "num_heads": 16}
    tied, tokens = shape.pop("tie_word_embeddings"), {k: v for k, v in practice.items() if k.endswith("token_id")}
    rope = {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": [16, 24, 24]}
    text = {**shape, "rope_parameters": rope, "max_position_embeddings": 32768, "tie_word_embeddings": tied}
    config = Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=tied, **tokens)
    torch.manual_seed(0)
    model = Qwen2VLForConditionalGeneration._from_config(config, dtype=torch.bfloat16)
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        kept = head[words].clone()
        head.zero_()
        head[words] = kept
    return model


def whole_words(tokenizer) -> list[int]:
    """Tokens that stand for a word and the space before it: text made of them is read again as the same tokens."""
    return [token for token in range(len(tokenizer)) if re.fullmatch(" [a-z]+", tokenizer.decode([token]))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write the model to: 4.4 GB for 2b, 16.6 GB for 7b")
    parser.add_argument("--size", choices=SIZES, default="2b")
    options = parser.parse_args()
    practice = Qwen2VLConfig.from_pretrained(PRACTICE_DIR).to_dict()
    processor = AutoProcessor.from_pretrained(PRACTICE_DIR)
    model = random_model(options.size, practice, whole_words(processor.tokenizer))
    model.save_pretrained(options.out)
    processor.save_pretrained(options.out)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e9:.2f} billion random parameters in {options.out}")


if __name__ == "__main__":
    main()
