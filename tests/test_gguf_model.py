"""benchmarks/gguf_model.py and the engine llama-cpp: the same answers' sizes as the others, from files of our own."""

import json

import numpy as np
import pytest

from benchmarks import gguf_model, random_model
from benchmarks.__main__ import main
from benchmarks.scenario import QUESTION, picture, user

gguf = pytest.importorskip("gguf", reason="needs requirements-bench.txt")
from gguf.quants import dequantize  # noqa: E402

# The smallest that Q6_K's blocks of 256 and llama.cpp's kernels take.
SHAPE = {"model_type": "qwen2_vl", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1088, "tie_word_embeddings": True,
         "vision_config": {"depth": 2, "embed_dim": 64, "mlp_ratio": 4, "num_heads": 2, "patch_size": 14,
                           "spatial_merge_size": 2, "temporal_patch_size": 2, "hidden_size": 256}}  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random")
    random_model.write_model(SHAPE, folder)
    return folder


@pytest.fixture(scope="module")
def written(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("gguf") / "model"
    assert main(["gguf-model", str(source), str(out)]) == 0
    return out


def tensors_of(file) -> dict:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}


def test_weights_survive_in_the_types_that_llama_cpp_uses(source, written):
    original = dict(gguf_model.tensors(source))
    found = tensors_of(written / gguf_model.LANGUAGE_MODEL)
    for theirs, name, kind, error in [
        ("blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight", "Q4_0", 0.01),
        ("token_embd.weight", "model.embed_tokens.weight", "Q6_K", 0.005),
        ("blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight", "F32", 0),
    ]:
        tensor = found[theirs]
        assert tensor.tensor_type.name == kind
        assert np.abs(dequantize(tensor.data, tensor.tensor_type) - original[name]).max() <= error, name


def test_no_embedding_is_zero():
    rows = gguf_model.without_zeros(np.array([[0.0] * 4, [0.5] * 4], dtype=np.float32))
    assert rows[0].any() and np.abs(rows[0]).max() < 0.01 and rows[1].tolist() == [0.5] * 4


def test_q6_k_is_read_as_it_was_written():
    rows = np.random.default_rng(0).normal(0, 0.02, (3, 512)).astype(np.float32)
    rows[1] = 0
    read = dequantize(gguf_model.q6_k(rows), gguf.GGMLQuantizationType.Q6_K)
    assert np.abs(read - rows).max() < 0.002 and not read[1].any()


def test_the_vision_encoder_has_all_its_parts(written):
    names = tensors_of(written / gguf_model.VISION_ENCODER)
    assert {"v.patch_embd.weight", "v.patch_embd.weight.1", "v.blk.1.attn_k.bias", "mm.2.weight"} <= set(names)
    assert not any("qkv" in name for name in names)


def test_what_is_no_random_model_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["gguf-model", str(tmp_path), str(tmp_path / "out")])
    assert "random-model" in capsys.readouterr().err
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl"}))
    with pytest.raises(SystemExit):
        main(["gguf-model", str(tmp_path), str(tmp_path / "out")])
    assert "not a Qwen2-VL" in capsys.readouterr().err


def test_llama_cpp_answers_a_picture_and_goes_on_from_its_cache(written):
    llama_cpp = pytest.importorskip("benchmarks.engines.llama_cpp", reason="needs requirements-bench.txt")
    engine = llama_cpp.Engine(None, written)
    question = user(QUESTION, picture(0))
    reply = engine.ask([question], 4)
    assert reply.answer_tokens == 4 and 0 < reply.first_token_s <= reply.total_s
    assert reply.prompt_tokens > 384 and reply.text
    answer = {"role": "assistant", "content": reply.text}
    assert engine.ask([question, answer, user("Why?")], 4).cached_tokens >= reply.prompt_tokens - 1
    with pytest.raises(ValueError, match="no videos"):
        engine.ask([{"role": "user", "content": [{"type": "video", "video": []}]}], 4)


def test_nan_and_errors_of_llama_cpp_are_named():
    llama_cpp = pytest.importorskip("benchmarks.engines.llama_cpp", reason="needs requirements-bench.txt")
    token = {"choices": [{"delta": {"content": "9"}, "logprobs": {"content": [{"token": "9", "logprob": None}]}}]}
    with pytest.raises(ArithmeticError, match="NaN"):
        llama_cpp._check([token])
    with pytest.raises(RuntimeError, match="too long"):
        llama_cpp._check([{"error": {"message": "the prompt is too long"}}])
