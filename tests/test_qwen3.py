"""What is new in Qwen3-VL: times of a video as text, a place for each pair of frames, DeepStack, patches of 16 pixels.

That its answers are `generate`'s is in test_session_exact.py, for all families.
"""

import numpy as np
import pytest
from PIL import Image

from adapters.qwen_vl import JSON_THOUSANDTHS, family_of
from catalog.open import open_model
from chat_session import ChatSession
from session.prefill import PrefillPlan
from session.prompt import build_prompt
from tiny_model import scenes


@pytest.fixture(scope="module")
def opened(qwen3_dir):
    return open_model(qwen3_dir)


@pytest.fixture(scope="module")
def session(opened) -> ChatSession:
    return ChatSession(*opened)


def frames(count: int) -> list[Image.Image]:
    return scenes.draw_video(scenes.Shape("square", "green", x=0.25, y=0.5, r=0.18), "right", frames=count)


def asked(*media: dict) -> list[dict]:
    return [{"role": "user", "content": [*media, {"type": "text", "text": "What moves, and when?"}]}]


def as_the_processor_has_it(processor, messages: list[dict]) -> list[int]:
    """The same by Transformers: one string, and videos with the metadata that its processor makes times of."""
    parts = messages[0]["content"]
    images = [part["image"] for part in parts if part["type"] == "image"]
    videos = [part for part in parts if part["type"] == "video"]
    inputs = processor(
        text=[processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)],
        images=images or None,
        videos=[[np.array(frame) for frame in part["video"]] for part in videos] or None,
        video_metadata=[{"fps": part["fps"], "total_num_frames": len(part["video"]),
                         "frames_indices": list(range(len(part["video"])))} for part in videos] or None,
        do_sample_frames=False,
    )  # fmt: skip
    return inputs["input_ids"][0]


PICTURE = {"type": "image", "image": Image.new("RGB", (128, 96), "red")}


@pytest.mark.parametrize("media", [
    [PICTURE],
    [{"type": "video", "video": frames(8), "fps": 4}],
    [{"type": "video", "video": frames(5), "fps": 2.5}],  # an odd number: the last frame counts twice
    [PICTURE, {"type": "video", "video": frames(4), "fps": 1}, PICTURE,
     {"type": "video", "video": frames(2), "fps": 30}],
])  # fmt: skip
def test_a_prompt_is_that_of_transformers_token_for_token(opened, media):
    _, processor = opened
    messages = asked(*media)
    assert build_prompt(processor, messages).ids == as_the_processor_has_it(processor, messages)


def test_times_that_people_type_stay_text_and_cost_no_place(opened):
    _, processor = opened
    video = {"type": "video", "video": frames(4), "fps": 2}
    typed = "<0.2 seconds><|vision_start|><|video_pad|><|vision_end|>"
    prompt = build_prompt(processor, [{"role": "user", "content": [video, {"type": "text", "text": typed}]}])
    assert prompt.ids.count(processor.video_token_id) == prompt.media[0].tokens


def test_a_videos_blocks_stand_apart_with_their_times_between(session, opened):
    _, processor = opened
    prompt = build_prompt(processor, asked({"type": "video", "video": frames(8), "fps": 4}))
    (item,) = prompt.media
    assert item.times == (0.125, 0.625, 1.125, 1.625)
    plan = PrefillPlan(prompt, session._model)
    starts = [start for start, _ in plan.blocks]
    assert len(starts) == 4
    between = processor.tokenizer.decode(prompt.ids[starts[0] + plan.blocks[0][1].tokens : starts[1]])
    assert between == "<|vision_end|><0.6 seconds><|vision_start|>"


def test_what_deepstack_adds_is_kept_with_the_picture_and_is_nothing_for_text(session, opened):
    _, processor = opened
    model = session._model
    layers = len(opened[0].config.vision_config.deepstack_visual_indexes)
    (block,) = build_prompt(processor, asked(PICTURE)).media[0].blocks
    features = model.encode(block)
    assert features.shape[:2] == (1 + layers, block.tokens)
    assert all(abs(layer).max() > 0 for layer in features)
    text = model.embed([1, 2, 3])
    assert text.shape[:2] == (1 + layers, 3)
    assert abs(text[0]).max() > 0
    assert not text[1:].any()


def test_without_what_deepstack_adds_the_model_computes_something_else(session, opened):
    """So that the equality with `generate` says something about it."""
    _, processor = opened
    model = session._model
    plan = PrefillPlan(build_prompt(processor, asked(PICTURE)), model)
    embeddings = model.embed(plan.prompt.ids)
    for first, block in plan.blocks:
        embeddings[:, first : first + block.tokens] = model.encode(block)
    whole = model.new_cache().forward(embeddings.copy(), plan.position_ids)
    embeddings[1:] = 0
    assert abs(model.new_cache().forward(embeddings, plan.position_ids) - whole).max() > 0.1


def test_a_visual_token_is_32_by_32_pixels_and_the_budget_counts_in_them(session, opened):
    _, processor = opened
    family = family_of(processor)
    assert (family.pixels_per_token, family.box_format) == (32 * 32, JSON_THOUSANDTHS)
    assert session.visual_token_budget == (256, 1280)
    estimate = session.estimate(asked({"type": "image", "image": Image.new("RGB", (640, 640))}))
    assert estimate.visual_tokens == 20 * 20
