"""`catalog.parameters` and `catalog.shapes`, compared with what Transformers builds and the exporter writes."""

import json

import pytest

from catalog.parameters import BYTES, VISION_DEFAULTS, count_parameters, export_bytes
from catalog.shapes import SHAPES


def transformers_count(config: dict) -> int:
    """Of the model that Transformers builds from `config`, without memory for its weights."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(CONFIG_MAPPING[config["model_type"]](**config))
    model.tie_weights()  # loading does this; building alone does not
    return sum(parameter.numel() for parameter in model.parameters())


def nested(config: dict) -> dict:
    """The hub's flat layout as Transformers 5 writes it."""
    top = {name: config[name] for name in ("model_type", "vision_config", "tie_word_embeddings")}
    return {**top, "text_config": {name: value for name, value in config.items()
                                   if name not in ("model_type", "vision_config")}}


@pytest.mark.parametrize("shape", SHAPES)
def test_parameters_are_counted_as_transformers_builds_them(shape):
    config = SHAPES[shape]
    assert count_parameters(config).total == transformers_count(nested(config))
    assert count_parameters(nested(config)) == count_parameters(config)


def test_the_totals_are_those_that_the_hub_states():
    """The sizes in the checkpoints' own model.safetensors.index.json, at two bytes each."""
    stated = {"2.5-3b": 7_509_245_952, "2.5-7b": 16_584_333_312}
    assert {shape: 2 * count_parameters(SHAPES[shape]).total for shape in stated} == stated


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_saved_config_leaves_out_is_transformers_default(shape):
    config = SHAPES[shape]
    defaults = VISION_DEFAULTS[config["model_type"]]
    shortened = {name: value for name, value in config["vision_config"].items() if defaults.get(name) != value}
    assert len(shortened) < len(config["vision_config"])
    assert count_parameters({**config, "vision_config": shortened}) == count_parameters(config)


def test_the_defaults_are_those_of_transformers():
    from transformers import CONFIG_MAPPING

    for kind, defaults in VISION_DEFAULTS.items():
        vision = CONFIG_MAPPING[kind]().vision_config
        assert {name: getattr(vision, name) for name in defaults} == defaults


def test_the_practice_models_parameters_are_counted_from_its_nested_config(tiny_dir):
    from safetensors import safe_open

    with safe_open(tiny_dir / "model.safetensors", "pt") as weights:
        stored = sum(weights.get_tensor(name).numel() for name in weights.keys())  # noqa: SIM118, not a dict
    assert count_parameters(json.loads((tiny_dir / "config.json").read_text())).total == stored


@pytest.mark.parametrize("weight_format", BYTES)
def test_the_computed_size_is_that_of_a_real_export(exported, tiny_dir, weight_format):
    parts = exported(weight_format).model_dir.glob("openvino_*_model.bin")
    real = sum(path.stat().st_size for path in parts)
    computed = export_bytes(count_parameters(json.loads((tiny_dir / "config.json").read_text())), weight_format)
    assert computed == pytest.approx(real, rel=0.03)


def test_the_computed_size_of_2b_is_the_measured_one():
    assert export_bytes(count_parameters(SHAPES["2b"])) == pytest.approx(1.8e9, rel=0.03)
