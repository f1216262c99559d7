"""benchmarks/random_model.py on tiny shapes, in both layouts where the hub has both: Transformers loads it as it is."""

import json

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from adapters.qwen_vl import family_of
from benchmarks import random_model
from catalog.model_folder import require_source_dir
from catalog.parameters import count_parameters

TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "vocab_size": 1100}
VISION = {"depth": 2, "num_heads": 2, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}
TINY = {
    "qwen2_vl": {"model_type": "qwen2_vl", **TEXT, "tie_word_embeddings": True,
                 "vision_config": {**VISION, "embed_dim": 32, "mlp_ratio": 4, "hidden_size": 64}},
    "qwen2_5_vl": {"model_type": "qwen2_5_vl", **TEXT, "tie_word_embeddings": False,
                   "vision_config": {**VISION, "hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64,
                                     "fullatt_block_indexes": [1], "window_size": 56}},
}


def loaded(folder) -> tuple[dict, object]:
    """(weights, config), after making sure that every weight found its place."""
    model, info = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    return model.state_dict(), model.config


@pytest.fixture(scope="module", params=TINY)
def written(request, tmp_path_factory):
    """(family, {layout: folder}), in several files each."""
    folders = {layout: tmp_path_factory.mktemp(f"{request.param}-{layout}") for layout in ("new", "old")}
    for layout, folder in folders.items():
        random_model.write_model(TINY[request.param], folder, layout, file_size="200KB")
    return request.param, folders


def test_both_layouts_load_with_the_same_weights(written):
    family, folders = written
    (new, config), (old, old_config) = loaded(folders["new"]), loaded(folders["old"])
    assert new.keys() == old.keys()
    assert all(torch.equal(new[name], old[name]) for name in new)
    assert config.model_type == old_config.model_type == family
    for name in (*TEXT, "eos_token_id"):
        assert getattr(config.text_config, name) == getattr(old_config.text_config, name), name
    rope, old_rope = config.text_config.rope_parameters, old_config.text_config.rope_parameters
    assert {name: old_rope[name] for name in rope} == rope
    assert config.vision_config.to_dict() == old_config.vision_config.to_dict()


def test_the_old_layout_is_that_of_the_hubs_checkpoints(written):
    _, folders = written
    config = json.loads((folders["old"] / "config.json").read_text())
    assert "text_config" not in config
    assert (config["hidden_size"], config["rope_scaling"]["type"]) == (64, "mrope")
    names = json.loads((folders["old"] / "model.safetensors.index.json").read_text())["weight_map"]
    assert {name.split(".")[0] for name in names} <= {"model", "visual", "lm_head"}
    assert not any("language_model" in name or name.startswith("model.visual") for name in names)


def test_the_files_are_whole_several_and_accounted_for(written):
    family, folders = written
    for folder in folders.values():
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        assert len(set(index["weight_map"].values())) > 1
        assert require_source_dir(folder) == folder
        config = json.loads((folder / "config.json").read_text())
        assert count_parameters(config).total == count_parameters(TINY[family]).total
        assert index["metadata"]["total_size"] == 2 * count_parameters(config).total


def test_only_whole_words_are_ever_written(written):
    _, folders = written
    weights, _ = loaded(folders["new"])
    words = random_model.whole_words(AutoProcessor.from_pretrained(folders["new"]).tokenizer)
    used = weights["lm_head.weight"].abs().sum(dim=1).nonzero().flatten().tolist()
    assert used == words != []


def test_a_qwen3_vl_is_written_as_the_hub_has_it(tmp_path):
    """Its checkpoints have Transformers' own names, and its patches have 16 pixels."""
    shape = {"model_type": "qwen3_vl", **TEXT, "head_dim": 32, "tie_word_embeddings": True, "vision_config": {
        **VISION, "patch_size": 16, "hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64,
        "num_position_embeddings": 16, "deepstack_visual_indexes": [0]}}  # fmt: skip
    written = random_model.write_model(shape, tmp_path)
    weights, config = loaded(tmp_path)
    assert written == count_parameters(shape).total
    assert config.text_config.rope_parameters["mrope_interleaved"] is True
    processor = AutoProcessor.from_pretrained(tmp_path)
    assert family_of(processor).name == "Qwen3-VL"
    assert processor.image_processor.patch_size == processor.video_processor.patch_size == 16
    assert not weights["model.language_model.layers.0.mlp.up_proj.weight"].isnan().any()


def test_weights_are_spread_as_transformers_initialises_them(written):
    weights, _ = loaded(written[1]["new"])
    layer = "model.language_model.layers.0"
    assert weights[f"{layer}.mlp.up_proj.weight"].float().std() == pytest.approx(0.02, rel=0.05)
    assert weights[f"{layer}.self_attn.q_proj.bias"].abs().max() == 0
    assert weights[f"{layer}.input_layernorm.weight"].unique().tolist() == [1]
    assert not torch.equal(weights[f"{layer}.mlp.up_proj.weight"], weights[f"{layer}.mlp.gate_proj.weight"])
