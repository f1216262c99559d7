"""The exported practice model against the original: the same tokens, the same tokenizer, the budget that was asked
for.
"""

import json
import random

import numpy as np
import openvino_tokenizers  # noqa: F401  registers the tokenizer's operations
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from adapters.openvino_runtime import ov
from adapters.qwen_vl import PIXELS_PER_TOKEN
from tiny_model import evaluate
from tiny_model.training import report


@pytest.fixture(scope="module")
def original(tiny_dir):
    return evaluate.load(tiny_dir)[0]


def greedy(model, processor, case) -> list[int]:
    """Token ids of a greedy answer of at most 32 tokens."""
    parts = case.messages[0]["content"]
    images = [part["image"] for part in parts if part["type"] == "image"] or None
    videos = [
        torch.from_numpy(np.stack([np.asarray(frame) for frame in part["video"]])).permute(0, 3, 1, 2)
        for part in parts
        if part["type"] == "video"
    ]
    text = processor.apply_chat_template(case.messages, tokenize=False, add_generation_prompt=True)
    inputs = processor(text=[text], images=images, videos=videos or None, return_tensors="pt")
    with torch.no_grad():
        return model.generate(**inputs, max_new_tokens=32, do_sample=False)[0, inputs["input_ids"].shape[1] :].tolist()


@pytest.mark.parametrize("kind", ["describe", "locate", "pair", "video", "video"])
def test_unquantized_openvino_gives_transformers_tokens(original, ov_model_fp32, processor, kind):
    rng = random.Random(f"equality {kind}")
    for _ in range(3):
        case = evaluate.make_case(rng, kind)
        assert greedy(ov_model_fp32, processor, case) == greedy(original, processor, case)


@pytest.mark.parametrize(
    "text", ["What colour is the circle?", "<|box_start|>(320,480),(1000,960)<|box_end|>", "naïve  猫 🙂\nnew line", ""]
)
def test_the_exported_tokenizer_agrees_and_round_trips(int4_dir, processor, text):
    core = ov.Core()
    encode = core.compile_model(int4_dir / "openvino_tokenizer.xml", "CPU")
    decode = core.compile_model(int4_dir / "openvino_detokenizer.xml", "CPU")
    ids = encode([text])["input_ids"]
    assert ids[0].tolist() == processor.tokenizer(text)["input_ids"]
    plain = text.replace("<|box_start|>", "").replace("<|box_end|>", "")  # the detokenizer leaves special tokens out
    if text:
        assert decode([ids])[0][0] == plain


@pytest.mark.parametrize("size", [(140, 140), (640, 480), (4000, 3000)])
def test_a_budget_of_256_to_1280_visual_tokens_holds(int4_dir, size):
    low, high = 256, 1280
    processor = AutoProcessor.from_pretrained(
        int4_dir, min_pixels=low * PIXELS_PER_TOKEN, max_pixels=high * PIXELS_PER_TOKEN
    )
    grid = processor.image_processor([Image.new("RGB", size)], return_tensors="pt")["image_grid_thw"][0]
    assert low <= int(grid.prod()) // 4 <= high


def test_an_export_opens_as_a_reader_would_open_it(int4_dir):
    """`evaluate.load` on an export: what is not compiled yet is compiled when it is asked, and boxes come out whole."""
    model, processor = evaluate.load(int4_dir)
    cases = [evaluate.make_case(random.Random(12), "locate")]
    (answer,) = evaluate.answers(model, processor, cases)
    assert answer.endswith("<|box_end|>")


def test_the_int4_export_is_about_as_right_as_its_published_table(ov_model, processor):
    """60 fresh questions a kind; the margin is three standard errors of such a sample at the published share."""
    published = json.loads((report.FOLDER / "accuracy-int4.json").read_text())["accuracy"]
    measured = evaluate.accuracy(ov_model, processor, ("colour", "count", "where"), count=60, seed=1)
    for kind, share in measured.items():
        error = max(0.02, (published[kind] * (1 - published[kind]) / 60) ** 0.5)
        assert share >= published[kind] - 3 * error, kind


def test_the_readmes_table_is_what_was_measured():
    assert report.figures() in (report.FOLDER / "README.md").read_text(encoding="utf-8")
