"""session.patches: files are opened once, and again when they changed."""

import os

import pytest
from fake_model import fake_processor
from PIL import Image

from session import patches
from session.media import MediaError

PROCESSOR = fake_processor()


def opened(monkeypatch) -> list:
    """What `load_image` was asked for from now on."""
    asked, real = [], patches.load_image
    monkeypatch.setattr(patches, "load_image", lambda source: asked.append(source) or real(source))
    return asked


def saved(path, colour):
    Image.new("RGB", (112, 56), colour).save(path)
    return {"type": "image", "image": str(path)}


def test_a_file_is_opened_once_for_every_budget(tmp_path, monkeypatch):
    kept, asked = patches.Patches(PROCESSOR, 1 << 20), opened(monkeypatch)
    block = saved(tmp_path / "a.png", "red")
    assert kept.of(block) is kept.of(block)
    assert kept.of(block).grid != kept.of(block, 2).grid
    assert len(asked) == 2 and kept.bytes > 0


def test_a_changed_file_is_opened_again(tmp_path):
    kept = patches.Patches(PROCESSOR, 1 << 20)
    before = kept.of(saved(tmp_path / "a.png", "red")).blocks[0].digest
    block = saved(tmp_path / "a.png", "blue")
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert kept.of(block).blocks[0].digest != before


def test_a_deleted_file_is_missed_though_it_was_kept(tmp_path):
    kept = patches.Patches(PROCESSOR, 1 << 20)
    block = saved(tmp_path / "a.png", "red")
    kept.of(block)
    (tmp_path / "a.png").unlink()
    with pytest.raises(MediaError, match="no longer there"):
        kept.of(block)


def test_pictures_in_memory_are_never_taken_for_each_other(monkeypatch):
    kept, asked = patches.Patches(PROCESSOR, 1 << 20), opened(monkeypatch)
    digests = {
        kept.of({"type": "image", "image": Image.new("RGB", (56, 56), c)}).blocks[0].digest for c in ("red", "blue")
    }
    assert len(digests) == len(asked) == 2


def test_the_same_bytes_are_opened_once_and_others_are_not_taken_for_them(tmp_path, monkeypatch):
    kept, asked = patches.Patches(PROCESSOR, 1 << 20), opened(monkeypatch)
    for colour in ("red", "blue", "red"):
        saved(tmp_path / "a.png", colour)
        kept.of({"type": "image", "image": (tmp_path / "a.png").read_bytes()})
    assert len(asked) == 2


def test_no_more_is_kept_than_allowed(tmp_path, monkeypatch):
    kept, asked = patches.Patches(PROCESSOR, 1), opened(monkeypatch)
    blocks = [saved(tmp_path / f"{colour}.png", colour) for colour in ("red", "blue")]
    for block in blocks * 2:
        kept.of(block)
    assert len(asked) == 4
