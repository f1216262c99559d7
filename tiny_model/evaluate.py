"""Ask the embedded model held-out questions and count right answers: `python -m tiny_model.evaluate [MODEL_DIR]`.

Works alike on Transformers' model and on an OpenVINO export: everything goes through the processor and `generate`,
greedily. An answer is right when it is the expected text, word for word; a box when its overlap with the true one
(IoU) is at least 0.5; a photograph or an off-topic question when it is refused. A follow-up is asked after the true
first turn. Not here: what is asked (`questions.py`), speed.
"""

import argparse
import io
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tiny_model import questions, scenes
from tiny_model.training.model import PIXELS_PER_TOKEN

HELD_OUT = 2_000_000  # seeds from here on are never used in training
KINDS = (*questions.KINDS, "conversation", "chat", "pair", "new_picture", "video", "off_topic", "photo")
BUDGETS = {"16 visual tokens": 16, "64": 64, "144": 144, "256": 256, "400": 400}


@dataclass
class Case:
    """One question: chat messages with PIL media inside, the expected last answer, and for boxes the true box in
    thousandths.
    """

    messages: list[dict]
    expected: str
    box: tuple[float, ...] | None = None


def _messages(media: list[dict], turns) -> list[dict]:
    """The history up to the last question; media stand before the first one, or the last of them where
    `questions.NEW_PICTURE` does.
    """
    messages, media = [], list(media)
    changes = any(questions.NEW_PICTURE in question for question, _ in turns)
    for question, answer in turns:
        take = len(media) - changes if not messages else int(questions.NEW_PICTURE in question)
        shown, media = media[:take], media[take:]
        text = {"type": "text", "text": question.removeprefix(questions.NEW_PICTURE)}
        messages.append({"role": "user", "content": [*shown, text]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    return messages[:-1]


def _image(picture: Image.Image) -> dict:
    return {"type": "image", "image": picture}


def photographs() -> list[Image.Image]:
    """The photographs that scikit-image and scikit-learn bring along. Raises ImportError where these are not
    installed.
    """
    import skimage
    import sklearn

    names = {
        "astronaut",
        "brick",
        "camera",
        "chelsea",
        "clock_motion",
        "coffee",
        "coins",
        "grass",
        "gravel",
        "hubble_deep_field",
    }
    names |= {"ihc", "moon", "motorcycle_left", "page", "retina", "rocket", "text"}
    folder = Path(skimage.__file__).parent / "data"
    paths = [p for p in sorted(folder.iterdir()) if p.stem in names]
    paths += sorted((Path(sklearn.__file__).parent / "datasets" / "images").glob("*.jpg"))
    return [Image.open(p).convert("RGB") for p in paths]


def _crop(rng: random.Random, photo: Image.Image) -> Image.Image:
    """A part of a photograph, at least half of each side."""
    width, height = (int(side * rng.uniform(0.5, 1)) for side in photo.size)
    left, top = rng.randint(0, photo.width - width), rng.randint(0, photo.height - height)
    return photo.crop((left, top, left + width, top + height)).resize((max(112, width // 2), max(112, height // 2)))


def _case(media: list[dict], dialogue: questions.Dialogue, size=(1, 1)) -> Case:
    """size: (width, height) of the picture that the last question is about, if it asks for a box."""
    answer, box = dialogue.turns[-1][1], None
    if "<|box_start|>" in answer:
        corners = scenes.box(dialogue.target, size)
        box = tuple(1000 * v / s for v, s in zip(corners, size * 2, strict=True))
    return Case(_messages(media, dialogue.turns), answer, box)


def _scene_case(rng, kind: str, change: Callable) -> Case:
    dialogue = None
    while dialogue is None:
        scene = scenes.sample_scene(rng)
        dialogue = questions.about_scene(rng, scene, kind)
    return _case([_image(change(rng, scene))], dialogue, scene.image.size)


def make_case(rng: random.Random, kind: str, change: Callable = lambda rng, scene: scene.image, photos=()) -> Case:
    """A random case of one of KINDS. change(rng, scene) returns the picture to show instead of the drawn one."""
    if kind in ("pair", "new_picture"):
        pair = [scenes.sample_scene(rng) for _ in range(2)]
        dialogue = (questions.about_pair if kind == "pair" else questions.about_new_picture)(rng, *pair)
        return _case([_image(change(rng, scene)) for scene in pair], dialogue, pair[1].image.size)
    if kind == "video":
        size = (rng.randint(112, 200), rng.randint(112, 200))
        frames, mover, direction, _, _ = scenes.sample_video(rng, size, rng.choice([4, 6, 8]))
        return _case([{"type": "video", "video": frames}], questions.about_video(rng, mover, direction))
    if kind == "off_topic":
        return _case([_image(scenes.sample_scene(rng).image)], questions.off_topic(rng, held_out=True))
    if kind == "photo":
        dialogue = questions.about_photo(rng, scenes.sample_scene(rng))
        return _case([_image(_crop(rng, rng.choice(photos)))], dialogue)
    return _scene_case(rng, kind, change)


def answers(
    model, processor, cases: list[Case], batch: int = 4, budget: tuple[int, int] | None = None, new_tokens=80
) -> list[str]:
    """Greedy answers with special tokens kept (boxes need them), end token removed. budget: (min, max) visual tokens
    a picture.
    """
    pixels = {"min_pixels": budget[0] * PIXELS_PER_TOKEN, "max_pixels": budget[1] * PIXELS_PER_TOKEN} if budget else {}
    out = []
    for start in range(0, len(cases), batch):
        part = cases[start : start + batch]
        blocks = [b for case in part for m in case.messages for b in m["content"]]
        images = [b["image"] for b in blocks if b["type"] == "image"] or None
        videos = [np.stack([np.asarray(f) for f in b["video"]]) for b in blocks if b["type"] == "video"]
        videos = [torch.from_numpy(v).permute(0, 3, 1, 2) for v in videos] or None
        text = [processor.apply_chat_template(c.messages, tokenize=False, add_generation_prompt=True) for c in part]
        inputs = processor(text=text, images=images, videos=videos, padding=True, return_tensors="pt", **pixels)
        with torch.no_grad():
            ids = model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False)
        texts = processor.tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=False)
        out += [t.split("<|im_end|>")[0] for t in texts]
    return out


def overlap(a, b) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2)."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    area = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return shared / (area - shared) if area > shared else 0.0


def is_right(case: Case, answer: str) -> bool:
    if case.box is None:
        return answer == case.expected
    corners = re.search(r"<\|box_start\|>\((\d+),(\d+)\),\((\d+),(\d+)\)<\|box_end\|>", answer)
    return bool(corners) and overlap([int(v) for v in corners.groups()], case.box) >= 0.5


def accuracy(model, processor, kinds=KINDS, count: int = 500, seed: int = 0, **options) -> dict[str, float]:
    """{kind: share of `count` held-out questions answered rightly}. Options: `change` (see make_case), `budget` (see
    answers).
    """
    change = options.pop("change", lambda rng, scene: scene.image)
    photos = photographs() if "photo" in kinds else ()
    out = {}
    for kind in kinds:
        rng = random.Random(f"{HELD_OUT + seed} {kind}")
        cases = [make_case(rng, kind, change, photos) for _ in range(count)]
        given = answers(model, processor, cases, **options)
        out[kind] = sum(is_right(c, a) for c, a in zip(cases, given, strict=True)) / count
    return out


def refused_scenes(model, processor, count: int = 500, seed: int = 0) -> float:
    """Share of drawn scenes, asked about in every way the model knows, that it wrongly refuses."""
    rng = random.Random(f"{HELD_OUT + seed} refused")
    cases = [make_case(rng, rng.choice(questions.KINDS)) for _ in range(count)]
    return sum(a == questions.REFUSAL for a in answers(model, processor, cases)) / count


def _jpeg(rng, scene):
    buffer = io.BytesIO()
    scene.image.save(buffer, "JPEG", quality=25)
    return Image.open(buffer)


def _rotated(rng, scene):
    return scene.image.rotate(
        rng.choice([-1, 1]) * rng.uniform(5, 12), fillcolor=scene.image.getpixel((1, 1)), resample=3
    )


def _gradient(rng, scene):
    """A brightness ramp over the whole picture, from 0.75 to 1.15 of what was drawn."""
    ramp = np.linspace(*rng.sample([0.75, 1.15], 2), scene.image.width)[None, :, None]
    return Image.fromarray((np.asarray(scene.image) * ramp).clip(0, 255).astype(np.uint8))


def _phone(rng, scene):
    return scene.image.resize((1512, round(1512 * scene.image.height / scene.image.width)), 3)


CHANGES = {
    "JPEG, quality 25": _jpeg,
    "turned by 5–12°": _rotated,
    "brightness gradient": _gradient,
    "1512 pixels wide": _phone,
}


def robustness(model, processor, count: int = 200) -> dict[str, dict[str, float]]:
    """Accuracy of descriptions, places and boxes at every visual budget, and on changed pictures."""
    kinds = ("describe", "where", "locate")
    rows = {
        name: accuracy(model, processor, kinds, count, 1, budget=(n, max(n * 5 // 4, n + 9)))
        for name, n in BUDGETS.items()
    }
    rows["the seed's cell (256 to 1280)"] = accuracy(model, processor, kinds, count, 1, budget=(256, 1280))
    return rows | {name: accuracy(model, processor, kinds, count, 1, change=change) for name, change in CHANGES.items()}


def load(path: Path):
    """(model, processor) of a Transformers folder, in float32, or of an OpenVINO export."""
    from transformers import AutoProcessor, Qwen2VLForConditionalGeneration

    if (path / "openvino_language_model.xml").exists():
        from optimum.intel.openvino import OVModelForVisualCausalLM

        model = OVModelForVisualCausalLM.from_pretrained(path, device="CPU")
    else:
        model = Qwen2VLForConditionalGeneration.from_pretrained(path, dtype=torch.float32).eval()
    return model, AutoProcessor.from_pretrained(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "model", nargs="?", type=Path, default=Path(__file__).parent / "weights", help="a model folder or an export"
    )
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
