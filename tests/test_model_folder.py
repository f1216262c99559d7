"""`catalog.model_folder`: whole models are told from halves and from others, by sizes and headers.

The folders are copies of the practice model and of its INT4 export.
"""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from catalog.choices import model_choices
from catalog.errors import ModelFolderError
from catalog.manifest import MANIFEST
from catalog.model_folder import require_model_dir, require_source_dir


@pytest.fixture(params=["with its manifest", "without"])
def export_copy(int4_dir, tmp_path, request) -> Path:
    folder = shutil.copytree(int4_dir, tmp_path / "a model")
    if request.param == "without":  # as ready-made ones and earlier exports are
        (folder / MANIFEST).unlink()
    return folder


@pytest.fixture
def source_copy(tiny_dir, tmp_path) -> Path:
    return shutil.copytree(tiny_dir, tmp_path / "a source")


def cut(file: Path, share: float) -> None:
    os.truncate(file, int(file.stat().st_size * share))


def test_whole_folders_are_accepted(export_copy, source_copy):
    assert require_model_dir(str(export_copy)) == export_copy
    assert require_source_dir(str(source_copy)) == source_copy


def test_all_families_are_accepted(qwen25_dir, qwen3_dir):
    assert require_model_dir(qwen3_dir) == qwen3_dir
    assert "qwen2_5_vl" in (qwen25_dir / "config.json").read_text()
    assert require_model_dir(qwen25_dir) == qwen25_dir
    source = qwen25_dir.with_name("source of qwen25")
    assert require_source_dir(source) == source


@pytest.mark.parametrize("require", [require_model_dir, require_source_dir])
def test_a_missing_folder_is_refused(require, tmp_path):
    with pytest.raises(ModelFolderError, match="There is no model folder"):
        require(tmp_path / "nowhere")


@pytest.mark.parametrize("require", [require_model_dir, require_source_dir])
def test_an_empty_folder_is_refused(require, tmp_path):
    with pytest.raises(ModelFolderError, match=r"config\.json missing"):
        require(tmp_path)


@pytest.mark.parametrize("name", [
    "openvino_language_model.xml", "openvino_language_model.bin", "openvino_text_embeddings_model.bin",
    "openvino_vision_embeddings_model.xml", "openvino_vision_embeddings_merger_model.bin", "tokenizer_config.json"])
def test_an_export_without_one_of_its_files_is_refused(export_copy, name):
    (export_copy / name).unlink()
    with pytest.raises(ModelFolderError, match=f"is not a whole model: {re.escape(name)} missing"):
        require_model_dir(export_copy)


@pytest.mark.parametrize("name", ["openvino_language_model.bin", "openvino_vision_embeddings_merger_model.bin",
                                  "openvino_language_model.xml", "openvino_vision_embeddings_model.xml"])
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_an_export_with_a_file_cut_short_is_refused(export_copy, name, share):
    cut(export_copy / name, share)
    with pytest.raises(ModelFolderError, match=f"{re.escape(name)} (breaks off|has [\\d,]+ of [\\d,]+ bytes)"):
        require_model_dir(export_copy)


@pytest.mark.parametrize("share", [0, 0.0001, 0.5, 0.99])
def test_weights_cut_short_are_refused(source_copy, share):
    cut(source_copy / "model.safetensors", share)
    with pytest.raises(ModelFolderError, match=r"model\.safetensors (breaks off|has [\d,]+ of [\d,]+ bytes)"):
        require_source_dir(source_copy)


@pytest.mark.parametrize("header", [b"not json", b"[]", b'{"a": {}}', b'{"a": 1}'])
def test_weights_with_a_broken_header_are_refused(source_copy, header):
    (source_copy / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ModelFolderError, match=r"model\.safetensors has an unreadable header"):
        require_source_dir(source_copy)


def test_an_own_folder_whose_config_lacks_a_shape_is_refused(source_copy):
    (source_copy / "config.json").write_text('{"model_type": "qwen2_vl"}')
    with pytest.raises(ModelFolderError, match=r"config\.json lacks 'hidden_size'"):
        model_choices(source_copy)


def test_a_missing_shard_is_named(source_copy):
    (source_copy / "model.safetensors").rename(source_copy / "model-1-of-2.safetensors")
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    (source_copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelFolderError, match=r"model-2-of-2\.safetensors missing"):
        require_source_dir(source_copy)
    (source_copy / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ModelFolderError, match=r"index\.json names no weights"):
        require_source_dir(source_copy)


@pytest.mark.parametrize("require", [require_model_dir, require_source_dir])
def test_a_model_of_another_architecture_is_named(require, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen3_5"}')
    with pytest.raises(ModelFolderError, match=r"of type 'qwen3_5'.* runs qwen2_vl, qwen2_5_vl, qwen3_vl "):
        require(tmp_path)


@pytest.mark.parametrize("require", [require_model_dir, require_source_dir])
def test_a_mixture_of_experts_is_refused_by_name(require, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen3_vl_moe"}')
    with pytest.raises(ModelFolderError, match=r"'qwen3_vl_moe', a mixture of experts \(MoE\).*dense model"):
        require(tmp_path)


@pytest.mark.parametrize("name, written", [
    ("chat_template.jinja", str), ("chat_template.json", lambda template: json.dumps({"chat_template": template})),
    ("tokenizer_config.json", lambda template: json.dumps({"chat_template": template})),
])  # fmt: skip
def test_a_thinking_model_is_refused_by_its_chat_template(source_copy, name, written):
    """As Qwen publishes it: a line break written as two characters, or as one, in a file of its own or not."""
    for newline in ("\\n", "\n"):
        template = "{%- if add_generation_prompt %}{{- '<|im_start|>assistant" + newline + "<think>" + newline + "' }}"
        (source_copy / name).write_text(written(template + "{%- endif %}"))
        with pytest.raises(ModelFolderError, match=r"a Thinking model.*Instruct"):
            require_source_dir(source_copy)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"qwen2_vl"', "\0\0\0\0"])
def test_a_config_that_is_not_one_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelFolderError, match=r"config\.json is not valid"):
        require_model_dir(tmp_path)


def test_an_original_is_told_apart_from_an_export(tiny_dir):
    with pytest.raises(ModelFolderError, match="export it first with optimum_cli"):
        require_model_dir(tiny_dir)


def test_a_source_of_which_nothing_could_be_asked_is_refused_with_what_to_copy(source_copy):
    template = (source_copy / "chat_template.jinja").rename(source_copy / "put aside")
    with pytest.raises(ModelFolderError, match=r"no chat template.*copy chat_template\.jinja or chat_template\.json"):
        require_source_dir(source_copy)
    config = source_copy / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "chat_template": template.read_text()}))
    assert require_source_dir(source_copy) == source_copy
    (source_copy / "processor_config.json").unlink()
    with pytest.raises(ModelFolderError, match=r"no processor's config.*copy preprocessor_config\.json"):
        require_source_dir(source_copy)
