"""`catalog.open`: the model and its processor, from a folder or from the hub, with the right budget and a template."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from adapters import optimum_intel
from adapters.qwen_vl import PIXELS_PER_TOKEN
from catalog import open as opening
from catalog.errors import ModelFolderError
from catalog.hub import HubModel
from catalog.open import load_processor, open_model

PRACTICE, OTHER = SimpleNamespace(practice_model=True), SimpleNamespace(model_type="qwen2_vl")


@pytest.fixture
def copy(int4_dir, tmp_path) -> Path:
    return shutil.copytree(int4_dir, tmp_path / "a model")


def budget(processor) -> tuple[int, int]:
    """Visual tokens of a picture: the fewest and the most."""
    size = processor.image_processor.size
    return size["shortest_edge"] // PIXELS_PER_TOKEN, size["longest_edge"] // PIXELS_PER_TOKEN


def test_a_folder_opens_on_the_device_that_was_asked_for_and_nothing_is_compiled_yet(int4_dir):
    model, processor = open_model(str(int4_dir), "AUTO", ov_config={"PERFORMANCE_HINT": "LATENCY"})
    assert optimum_intel.requested_device(model) == "AUTO"
    assert model.language_model.request is None
    assert model.ov_config["PERFORMANCE_HINT"] == "LATENCY"
    assert budget(processor) == (16, 400), "the practice model's own"


def test_a_model_for_photographs_has_the_tutorials_budget(int4_dir):
    assert budget(load_processor(int4_dir, OTHER)) == (256, 1280)
    assert budget(load_processor(int4_dir, PRACTICE)) == (16, 400)


def test_the_budget_holds_for_a_picture(int4_dir):
    from PIL import Image

    images = load_processor(int4_dir, OTHER).image_processor
    for side, tokens in {28: 256, 3000: 1280}.items():
        grid = images(images=[Image.new("RGB", (side, side))], return_tensors="pt")["image_grid_thw"][0]
        assert int(grid.prod()) // 4 == pytest.approx(tokens, rel=0.05)


def test_a_name_on_the_hub_is_fetched(int4_dir, monkeypatch):
    asked = []
    monkeypatch.setattr(opening, "look_up", lambda name: HubModel({}, 0, exported=True))
    monkeypatch.setattr(opening, "fetch_model", lambda name: asked.append(name) or int4_dir)
    model, _ = open_model("someone/converted")
    assert asked == ["someone/converted"]
    assert optimum_intel.model_folder(model) == int4_dir


def test_what_is_no_export_is_refused(tiny_dir, monkeypatch):
    with pytest.raises(ModelFolderError, match="export it first with optimum_cli"):
        open_model(tiny_dir)
    with pytest.raises(ModelFolderError, match="There is no model folder"):
        open_model("./no/such/folder")
    monkeypatch.setattr(opening, "look_up", lambda name: HubModel({}, 10**9, exported=False))
    monkeypatch.setattr(opening, "fetch_model", lambda name: pytest.fail("a gigabyte was downloaded for nothing"))
    with pytest.raises(ModelFolderError, match="export it first with optimum_cli"):
        open_model("someone/original")


def test_a_template_beside_the_tokenizer_is_found(copy):
    """As exports of earlier versions keep it: in tokenizer_config.json, and nowhere else."""
    template = (copy / "chat_template.jinja").read_text(encoding="utf-8")
    (copy / "chat_template.jinja").unlink()
    config = copy / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"chat_template": template}))
    assert load_processor(copy, PRACTICE).chat_template == template


def test_a_model_without_a_template_is_refused(copy):
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(ModelFolderError, match="has no chat template, so nothing can be asked"):
        load_processor(copy, PRACTICE)
