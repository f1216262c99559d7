"""What is new in Qwen3-VL: times of a video as text, a place for each pair of frames, DeepStack, patches of 16 pixels.

That its answers are `generate`'s is in test_session_exact.py, for all families.
"""

import base64
import io

import numpy as np
import openai
import pytest
from PIL import Image

from adapters.qwen_vl import JSON_THOUSANDTHS, family_of
from catalog.open import open_model
from chat_page import previews
from chat_page.draw_boxes import with_drawn_boxes
from chat_page.settings import Settings, predicted_cost
from chat_session import ChatSession
from serving.api import guarded
from serving.openai_api import make_api
from session.prefill import PrefillPlan
from session.prompt import build_prompt
from tests.asgi import listening
from tests.conftest import EXACT
from tests.test_media import brightening, write_video
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


# ---- the page and the API -------------------------------------------------------------------------------------------


def test_the_api_answers_about_pictures_and_a_video_as_the_session_does(qwen3_dir, tmp_path):
    session = ChatSession(*open_model(qwen3_dir, ov_config=EXACT))
    video = write_video(tmp_path / "a.mp4", brightening(12, 112, 112)).read_bytes()
    shown, said = [("video", "video/mp4", video)], []
    for frame in frames(6)[::2]:
        frame.save(file := io.BytesIO(), "PNG")
        shown.append(("image", "image/png", file.getvalue()))
    with listening(guarded(make_api(session, "qwen3"), "127.0.0.1", "")) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="-", max_retries=0)
        for kind, type_, data in shown:
            said.append("".join(session.stream(asked({"type": kind, kind: data}), max_new_tokens=16)))
            url = {"url": f"data:{type_};base64,{base64.b64encode(data).decode()}"}
            messages = asked({"type": f"{kind}_url", f"{kind}_url": url})
            reply = client.chat.completions.create(model="qwen3", messages=messages, max_tokens=16)
            assert reply.choices[0].message.content == said[-1]
    assert said[0] and any(said[1:])  # random weights may end an answer at once


def test_json_boxes_in_thousandths_are_drawn_on_the_picture_that_is_meant(opened, tmp_path):
    """At these corners of the second of two pictures, whatever size it was shown to the model with."""
    _, processor = opened
    files = [tmp_path / "red.png", tmp_path / "white.png"]
    for file, size in zip(files, [(640, 640), (1000, 500)], strict=True):
        Image.new("RGB", size, file.stem).save(file)
    question = asked(*({"type": "image", "image": str(file)} for file in files))
    text = 'In the second picture: [{"bbox_2d": [500, 100, 900, 900], "label": "cat"}]'
    drawn = with_drawn_boxes({"role": "assistant", "content": text}, question, processor, None)["boxed"]
    colours = np.array(Image.open(drawn).convert("RGB"))
    assert colours.shape == (500, 1000, 3)
    coloured = np.argwhere((colours != 255).any(axis=2))
    (_, left), (bottom, right) = coloured.min(axis=0), coloured.max(axis=0)
    assert abs(left - 500) < 8 and abs(right - 900) < 8 and abs(bottom - 450) < 8


def test_the_page_predicts_tokens_of_32_by_32_pixels_and_shows_frames_times(opened, session, tmp_path, monkeypatch):
    _, processor = opened
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    Image.new("RGB", (640, 640)).save(picture := tmp_path / "a.png")
    said = predicted_cost(session, [], {"text": "?", "files": [str(picture)]}, Settings())
    assert f" {20 * 20} visual tokens" in said
    part = {"type": "video", "video": str(write_video(tmp_path / "a.mp4", brightening(16, 112, 112)))}
    previews.make_previews(processor, part, lambda: True)
    times = [time for time, _ in previews.previews_of(part)]
    assert len(times) > 1 and times == sorted(times) and times[0] == "0.0 s"
