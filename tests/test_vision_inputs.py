"""session.vision_inputs: files are opened once, and again when they changed."""

import os

import pytest
from fake_model import fake_processor
from PIL import Image
from transformers import AutoProcessor

from adapters.qwen_vl import PIXELS_PER_TOKEN
from session import vision_inputs
from session.media import MediaError
from session.vision_inputs import MediaProcessor
from tests.conftest import TINY_DIR

PROCESSOR = fake_processor()


def opened(monkeypatch) -> list:
    """What `load_image` was asked for from now on."""
    asked, real = [], vision_inputs.load_image
    monkeypatch.setattr(vision_inputs, "load_image", lambda source, notes: asked.append(source) or real(source))
    return asked


def saved(path, colour):
    Image.new("RGB", (112, 56), colour).save(path)
    return {"type": "image", "image": str(path)}


def test_a_file_is_opened_once_for_every_budget(tmp_path, monkeypatch):
    kept, asked = MediaProcessor(PROCESSOR, 1 << 20), opened(monkeypatch)
    part = saved(tmp_path / "a.png", "red")
    assert kept.process(part) is kept.process(part)
    assert kept.process(part).grid != kept.process(part, 2).grid
    assert len(asked) == 2 and kept.bytes > 0


def test_a_changed_file_is_opened_again(tmp_path):
    kept = MediaProcessor(PROCESSOR, 1 << 20)
    before = kept.process(saved(tmp_path / "a.png", "red")).blocks[0].digest
    part = saved(tmp_path / "a.png", "blue")
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert kept.process(part).blocks[0].digest != before


def test_a_deleted_file_is_missed_though_it_was_kept(tmp_path):
    kept = MediaProcessor(PROCESSOR, 1 << 20)
    part = saved(tmp_path / "a.png", "red")
    kept.process(part)
    (tmp_path / "a.png").unlink()
    with pytest.raises(MediaError, match="no such picture"):
        kept.process(part)


def test_pictures_in_memory_are_never_taken_for_each_other(monkeypatch):
    kept, asked = MediaProcessor(PROCESSOR, 1 << 20), opened(monkeypatch)
    digests = {
        kept.process({"type": "image", "image": Image.new("RGB", (56, 56), colour)}).blocks[0].digest
        for colour in ("red", "blue")
    }
    assert len(digests) == len(asked) == 2


def test_the_same_bytes_are_opened_once_and_others_are_not_taken_for_them(tmp_path, monkeypatch):
    kept, asked = MediaProcessor(PROCESSOR, 1 << 20), opened(monkeypatch)
    for colour in ("red", "blue", "red"):
        saved(tmp_path / "a.png", colour)
        kept.process({"type": "image", "image": (tmp_path / "a.png").read_bytes()})
    assert len(asked) == 2


def test_no_more_is_kept_than_allowed(tmp_path, monkeypatch):
    kept, asked = MediaProcessor(PROCESSOR, 1), opened(monkeypatch)
    parts = [saved(tmp_path / f"{colour}.png", colour) for colour in ("red", "blue")]
    for part in parts * 2:
        kept.process(part)
    assert len(asked) == 4


@pytest.mark.parametrize("kind", ["image", "video"])
def test_a_budget_holds_where_the_processor_was_loaded_with_another(kind):
    budget = {"min_pixels": 64 * PIXELS_PER_TOKEN, "max_pixels": 99 * PIXELS_PER_TOKEN}
    processor = AutoProcessor.from_pretrained(TINY_DIR, **budget)
    frame = Image.new("RGB", (224, 224))
    part = {"type": kind, kind: [frame, frame] if kind == "video" else frame}
    kept = MediaProcessor(processor, 1 << 20)
    assert kept.process(part).tokens == 64
    assert kept.process(part, 9).tokens == kept.process(part | {"max_pixels": 9 * PIXELS_PER_TOKEN}).tokens == 9
