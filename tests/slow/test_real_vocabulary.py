"""Qwen's real vocabulary around small random weights: JSON that is valid, and answers that are `generate`'s.

Random weights know no JSON, so what is valid here is so by construction. The rows of the logits are padded to 151 936,
as in Qwen's checkpoints: to the numbers beyond the vocabulary no token belongs.
"""

import json
import statistics
import time

import jsonschema
import numpy as np
import pytest
from optimum.intel.openvino import OVModelForVisualCausalLM
from PIL import Image
from transformers import AutoProcessor

from chat_session import ChatSession
from session.prompt import build_prompt, model_inputs
from session.structured import JsonSchemas
from tests.conftest import EXACT
from tests.real_vocabulary import LOGITS

TABLE = {
    "type": "object",
    "properties": {
        "company": {"type": "string", "maxLength": 20}, "date": {"type": "string", "format": "date"},
        "lines": {"type": "array", "maxItems": 2, "items": {
            "type": "object",
            "properties": {"what": {"type": "string", "maxLength": 10}, "price": {"type": "integer", "maximum": 999,
                                                                                 "minimum": 0},
                           "paid": {"type": ["boolean", "null"]}, "kind": {"enum": ["bread", "a book", "你好"]}},
            "required": ["what", "price", "paid", "kind"], "additionalProperties": False}},
    },
    "required": ["company", "date", "lines"], "additionalProperties": False,
}  # fmt: skip
SAMPLED = {"do_sample": True, "temperature": 1.0, "top_k": 50, "top_p": 1.0}  # the hub's files: of one token
PICTURE = Image.radial_gradient("L").resize((112, 112)).convert("RGB")
QUESTION = {"role": "user", "content": [{"type": "image", "image": PICTURE}, {"type": "text", "text": "What is it?"}]}


@pytest.fixture(scope="module")
def folder(real_models):
    return real_models["qwen2"].with_name("export")


@pytest.fixture(scope="module")
def session(folder):
    model = OVModelForVisualCausalLM.from_pretrained(str(folder), device="CPU", compile=False, ov_config=EXACT)
    return ChatSession(model, AutoProcessor.from_pretrained(folder))


def test_every_answer_of_random_weights_is_valid_json_of_its_schema(session):
    for seed in range(8):
        options = {**SAMPLED, "seed": seed, "temperature": 1.5} if seed else {"do_sample": False}
        answer = session.stream([QUESTION], json_schema=TABLE, max_new_tokens=1000, **options)
        text = "".join(answer)
        assert answer.stats.finish_reason == "stop", text
        jsonschema.validate(json.loads(text), TABLE, format_checker=jsonschema.FormatChecker())


def test_drafts_change_no_answer_in_json(session, monkeypatch):
    for options in ({"do_sample": False}, {**SAMPLED, "seed": 3}):
        answers, steps = [], []
        for most in (0, 3):
            monkeypatch.setattr(session, "_max_draft_tokens", most)
            answer = session.stream([QUESTION], json_schema=TABLE, max_new_tokens=1000, **options)
            answers.append("".join(answer))
            steps.append(sum(answer.stats.steps.values()))
        assert answers[0] == answers[1]
        assert steps[1] < 0.9 * steps[0]


def test_an_answer_in_json_that_was_cut_goes_on(session):
    whole = "".join(session.stream([QUESTION], json_schema=TABLE, max_new_tokens=1000))
    cut = "".join(session.stream([QUESTION], json_schema=TABLE, max_new_tokens=15))
    messages = [QUESTION, {"role": "assistant", "content": cut}]
    rest = session.stream(messages, json_schema=TABLE, max_new_tokens=1000, continue_final_message=True)
    assert cut + "".join(rest) == whole


def test_without_a_schema_it_says_what_generate_says(session, folder):
    model = OVModelForVisualCausalLM.from_pretrained(str(folder), device="CPU", ov_config=EXACT)
    inputs = model_inputs(build_prompt(session.processor, [QUESTION]))
    ids = model.generate(**inputs, max_new_tokens=20, do_sample=False)[0, inputs["input_ids"].shape[1]:]
    answer = "".join(session.stream([QUESTION], max_new_tokens=20, do_sample=False))
    assert session.processor.tokenizer.decode(ids, skip_special_tokens=True).startswith(answer) and answer


def test_a_mask_costs_far_less_than_a_token(session):
    """Measured 0.15 ms at the median, the copy included; the bound would notice a mask made a hundred times slower."""
    tokenizer = session.processor.tokenizer
    constraint = JsonSchemas(tokenizer).constraint(TABLE, [tokenizer.eos_token_id])
    scores, took = np.zeros(LOGITS, dtype=np.float32), []
    text = json.dumps({"company": "Müller & Söhne", "date": "2026-11-26", "lines": [
        {"what": "apples", "price": 12, "paid": None, "kind": "a book"}]}, ensure_ascii=False)
    for token in tokenizer(text)["input_ids"]:
        began = time.perf_counter()
        constraint.forbid(scores.copy())
        constraint.accept([token])
        took.append(1000 * (time.perf_counter() - began))
    print(f"{statistics.median(took):.3f} ms at the median, {max(took):.2f} at most")
    assert constraint.is_complete and statistics.median(took) < 10
