"""Ask a model held-out questions and count right answers: `python -m tiny_model.evaluate [MODEL_DIR]`.

Works alike on Transformers' model and on an OpenVINO export: everything goes through the processor and `generate`,
greedily. An answer is right when it is the expected text, word for word; a box when its overlap with the true one
(IoU) is at least 0.5; a photograph or an off-topic question when it is refused. A follow-up is asked after the true
first turn. Not here: what is asked (`questions`), speed.

    model, processor = load(Path("build/INT4"))
    accuracy(model, processor, ["colour", "where"], count=40)  # {"colour": 1.0, "where": 0.975}
"""

import argparse
import io
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from adapters.qwen_vl import PIXELS_PER_TOKEN
from session.boxes import TEXT_THOUSANDTHS, parse_boxes
from tiny_model import questions, scenes

WEIGHTS = Path(__file__).parent / "weights"
HELD_OUT = 2_000_000  # seeds from here on are never used in training
KINDS = (*questions.KINDS, "conversation", "chat", "pair", "new_picture", "video", "off_topic", "photo")
BUDGETS = {  # by what the table calls them: (fewest, most) visual tokens of a picture
    "16 visual tokens": (16, 25), "64": (64, 80), "144": (144, 180), "256": (256, 320), "400": (400, 500),
    "256 to 1280, as in the tutorial this one follows": (256, 1280),
}  # fmt: skip
THOUSANDTHS = (1000, 1000)  # boxes are compared in a picture of this size: the scale in which Qwen2-VL writes them
MIN_OVERLAP = 0.5  # of a box that counts as right
# Those of the photographs that scikit-image brings along; files of other names are drawn, or too small.
PHOTOGRAPHS = {
    "astronaut", "brick", "camera", "chelsea", "clock_motion", "coffee", "coins", "grass", "gravel",
    "hubble_deep_field", "ihc", "moon", "motorcycle_left", "page", "retina", "rocket", "text",
}  # fmt: skip

Change = Callable[[random.Random, scenes.Scene], Image.Image]


@dataclass
class Case:
    """One question: chat messages with PIL media inside, the expected last answer, and for boxes the true box in
    thousandths.
    """

    messages: list[dict]
    expected: str
    box: tuple[float, ...] | None = None


# ---- what is asked: the order of the random draws decides it, and must stay ------------------------------------------


def as_drawn(rng: random.Random, scene: scenes.Scene) -> Image.Image:
    """The picture of `scene`, unchanged."""
    return scene.image


def make_case(
    rng: random.Random, kind: str, change: Change = as_drawn, photos: Sequence[Image.Image] = ()
) -> Case:  # fmt: skip
    """A random case of one of KINDS. change(rng, scene) returns the picture to show instead of the drawn one."""
    if kind in ("pair", "new_picture"):
        pair = [scenes.sample_scene(rng) for _ in range(2)]
        about = questions.about_pair if kind == "pair" else questions.about_new_picture
        dialogue = about(rng, *pair)
        return _case([_image(change(rng, scene)) for scene in pair], dialogue, pair[1].image.size)
    if kind == "video":
        size = (rng.randint(112, 200), rng.randint(112, 200))
        video = scenes.sample_video(rng, size, rng.choice([4, 6, 8]))
        dialogue = questions.about_video(rng, video.mover, video.direction)
        return _case([{"type": "video", "video": video.frames}], dialogue)
    if kind == "off_topic":
        return _case([_image(scenes.sample_scene(rng).image)], questions.off_topic(rng, held_out=True))
    if kind == "photo":
        dialogue = questions.about_photo(rng, scenes.sample_scene(rng))
        return _case([_image(_crop(rng, rng.choice(photos)))], dialogue)
    return _scene_case(rng, kind, change)


def photographs() -> list[Image.Image]:
    """The photographs that scikit-image and scikit-learn bring along. Raises ImportError where these are not
    installed.
    """
    import skimage
    import sklearn

    folder = Path(skimage.__file__).parent / "data"
    paths = [path for path in sorted(folder.iterdir()) if path.stem in PHOTOGRAPHS]
    paths += sorted((Path(sklearn.__file__).parent / "datasets" / "images").glob("*.jpg"))
    return [Image.open(path).convert("RGB") for path in paths]


def _crop(rng: random.Random, photo: Image.Image) -> Image.Image:
    """A part of a photograph, at least half of each side, at half its size."""
    width, height = (int(side * rng.uniform(0.5, 1)) for side in photo.size)
    left = rng.randint(0, photo.width - width)
    top = rng.randint(0, photo.height - height)
    return photo.crop((left, top, left + width, top + height)).resize((max(112, width // 2), max(112, height // 2)))


def _scene_case(rng: random.Random, kind: str, change: Change) -> Case:
    dialogue = None
    while dialogue is None:
        scene = scenes.sample_scene(rng)
        dialogue = questions.about_scene(rng, scene, kind)
    return _case([_image(change(rng, scene))], dialogue, scene.image.size)


def _image(picture: Image.Image) -> dict:
    return {"type": "image", "image": picture}


def _case(media: list[dict], dialogue: questions.Dialogue, size: tuple[int, int] = (1, 1)) -> Case:
    """size: (width, height) of the picture that the last question is about, if it asks for a box."""
    answer = dialogue.turns[-1][1]
    true_box = None
    if "<|box_start|>" in answer:
        corners = scenes.box(dialogue.target, size)
        true_box = tuple(1000 * v / side for v, side in zip(corners, size * 2, strict=True))
    return Case(_messages(media, dialogue.turns), answer, true_box)


def _messages(media: list[dict], turns: tuple[tuple[str, str], ...]) -> list[dict]:
    """The history up to the last question. Media stand before the first question; where one question has
    `questions.NEW_PICTURE`, the last of them stands there.
    """
    comes_later = any(questions.NEW_PICTURE in question for question, _ in turns)
    first, later = (media[:-1], media[-1:]) if comes_later else (media, [])
    messages = []
    for question, answer in turns:
        shown = later if questions.NEW_PICTURE in question else []
        if not messages:
            shown = first
        text = {"type": "text", "text": question.removeprefix(questions.NEW_PICTURE)}
        messages.append({"role": "user", "content": [*shown, text]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    return messages[:-1]


# ---- what a model answers -------------------------------------------------------------------------------------------


def answers(
    model, processor, cases: list[Case], batch: int = 4, budget: tuple[int, int] | None = None, new_tokens: int = 80
) -> list[str]:
    """Greedy answers with special tokens kept (boxes need them), end token removed.

    budget: (fewest, most) visual tokens of a picture; the processor's own if not given.
    """
    pixels = {}
    if budget:
        pixels = {"min_pixels": budget[0] * PIXELS_PER_TOKEN, "max_pixels": budget[1] * PIXELS_PER_TOKEN}
    found = []
    for start in range(0, len(cases), batch):
        inputs = _inputs(processor, cases[start : start + batch], pixels)
        with torch.no_grad():
            ids = model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False)
        new_ids = ids[:, inputs["input_ids"].shape[1] :]
        texts = processor.tokenizer.batch_decode(new_ids, skip_special_tokens=False)
        found += [text.split("<|im_end|>")[0] for text in texts]
    return found


def _inputs(processor, cases: list[Case], pixels: dict[str, int]):
    """Token ids, pixels and grids of a batch of cases, padded to one length."""
    parts = [part for case in cases for message in case.messages for part in message["content"]]
    images = [part["image"] for part in parts if part["type"] == "image"]
    videos = [_video_tensor(part["video"]) for part in parts if part["type"] == "video"]
    text = [processor.apply_chat_template(c.messages, tokenize=False, add_generation_prompt=True) for c in cases]
    return processor(
        text=text, images=images or None, videos=videos or None, padding=True, return_tensors="pt", **pixels
    )


def _video_tensor(frames: list[Image.Image]) -> torch.Tensor:
    """Frames as (frames, colours, height, width)."""
    return torch.from_numpy(np.stack([np.asarray(frame) for frame in frames])).permute(0, 3, 1, 2)


# ---- what is right --------------------------------------------------------------------------------------------------


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union (IoU) of two boxes (x1, y1, x2, y2)."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    intersection = max(0, width) * max(0, height)
    areas = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (a, b))
    return intersection / (areas - intersection) if areas > intersection else 0.0


def is_right(case: Case, answer: str) -> bool:
    """Whether `answer` is the expected text; or, if the case has a box, whether its first box overlaps that one.

    A box counts only between Qwen2-VL's tokens for one, <|box_start|>(x1,y1),(x2,y2)<|box_end|>.
    """
    if case.box is None:
        return answer == case.expected
    for enclosed in re.findall(r"<\|box_start\|>(.*?)<\|box_end\|>", answer):
        for box in parse_boxes(enclosed, TEXT_THOUSANDTHS, THOUSANDTHS):
            return overlap(box.corners, case.box) >= MIN_OVERLAP
    return False


def accuracy(model, processor, kinds=KINDS, count: int = 500, seed: int = 0, **options) -> dict[str, float]:
    """{kind: share of `count` held-out questions answered rightly}.

    options: `change` (see `make_case`); `batch`, `budget` and `new_tokens` (see `answers`).
    """
    change = options.pop("change", as_drawn)
    photos = photographs() if "photo" in kinds else ()
    shares = {}
    for kind in kinds:
        rng = random.Random(f"{HELD_OUT + seed} {kind}")
        cases = [make_case(rng, kind, change, photos) for _ in range(count)]
        given = answers(model, processor, cases, **options)
        shares[kind] = sum(is_right(case, answer) for case, answer in zip(cases, given, strict=True)) / count
    return shares


def refused_scenes(model, processor, count: int = 500, seed: int = 0) -> float:
    """Share of drawn scenes, asked about in every way the model knows, that it wrongly refuses."""
    rng = random.Random(f"{HELD_OUT + seed} refused")
    cases = [make_case(rng, rng.choice(questions.KINDS)) for _ in range(count)]
    return sum(answer == questions.REFUSAL for answer in answers(model, processor, cases)) / count


# ---- pictures that are not as they were drawn -----------------------------------------------------------------------


def _jpeg(rng: random.Random, scene: scenes.Scene) -> Image.Image:
    buffer = io.BytesIO()
    scene.image.save(buffer, "JPEG", quality=25)
    return Image.open(buffer)


def _rotated(rng: random.Random, scene: scenes.Scene) -> Image.Image:
    angle = rng.choice([-1, 1]) * rng.uniform(5, 12)
    return scene.image.rotate(angle, fillcolor=scene.image.getpixel((1, 1)), resample=Image.Resampling.BICUBIC)


def _gradient(rng: random.Random, scene: scenes.Scene) -> Image.Image:
    """A brightness ramp over the whole picture, from 0.75 to 1.15 of what was drawn."""
    ramp = np.linspace(*rng.sample([0.75, 1.15], 2), scene.image.width)[None, :, None]
    return Image.fromarray((np.asarray(scene.image) * ramp).clip(0, 255).astype(np.uint8))


def _enlarged(rng: random.Random, scene: scenes.Scene) -> Image.Image:
    """As large as a phone's picture."""
    size = (1512, round(1512 * scene.image.height / scene.image.width))
    return scene.image.resize(size, Image.Resampling.BICUBIC)


CHANGES = {
    "JPEG, quality 25": _jpeg,
    "turned by 5–12°": _rotated,
    "brightness gradient": _gradient,
    "1512 pixels wide": _enlarged,
}


def robustness(model, processor, count: int = 200) -> dict[str, dict[str, float]]:
    """Accuracy of descriptions, places and boxes at every visual token budget, and on changed pictures."""
    kinds = ("describe", "where", "locate")
    rows = {}
    for name, budget in BUDGETS.items():
        rows[name] = accuracy(model, processor, kinds, count, 1, budget=budget)
    for name, change in CHANGES.items():
        rows[name] = accuracy(model, processor, kinds, count, 1, change=change)
    return rows


# ---- the command ----------------------------------------------------------------------------------------------------


def load(path: Path):
    """(model, processor) of a Transformers folder, in float32, or of an OpenVINO export, on the CPU."""
    if (path / "openvino_language_model.xml").exists():
        from catalog.open import open_model

        return open_model(path)
    from transformers import AutoProcessor, Qwen2VLForConditionalGeneration

    model = Qwen2VLForConditionalGeneration.from_pretrained(path, dtype=torch.float32).eval()
    return model, AutoProcessor.from_pretrained(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=WEIGHTS, help="a model folder or an export")
    parser.add_argument("--count", type=int, default=500, help="questions of each kind")
    parser.add_argument(
        "--robustness", type=int, default=0, metavar="N", help="also budgets and changed pictures, N questions each"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    model, processor = load(options.model)
    result = {"questions of each kind": options.count, "accuracy": accuracy(model, processor, count=options.count)}
    result["scenes refused"] = refused_scenes(model, processor, options.count)
    if options.robustness:
        result["robustness questions"] = options.robustness
        result["robustness"] = robustness(model, processor, options.robustness)
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
