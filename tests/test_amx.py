"""`session.amx`: the language model on a processor with AMX, or one that is taken for such."""

import numpy as np
import pytest

from adapters import openvino_runtime, optimum_intel
from adapters.openvino_runtime import opset, ov
from chat_session import ChatSession
from session import amx
from tests.test_session_exact import MEDIA, question

ATTENTION = "ScaledDotProductAttention"


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    """Writes what Linux would say of a processor with these flags."""
    listed = tmp_path / "cpuinfo"
    monkeypatch.setattr(openvino_runtime, "CPUINFO", listed)
    return lambda flags: listed.write_text(f"flags\t\t: avx2 {flags} fma\n")


def session_of(folder, processor, ov_config: dict) -> tuple[ChatSession, object]:
    model = optimum_intel.load_model(folder, ov_config=ov_config)
    return ChatSession(model, processor), model.language_model


def types_of_attention(graph: ov.Model) -> set[str]:
    return {node.get_input_element_type(0).get_type_name() for node in graph.get_ops()
            if node.get_type_name() == ATTENTION}  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "given", "precision", "attention"),
    [
        ("amx_bf16", {}, "f32", "bf16"),
        ("amx_bf16", {amx.PRECISION: "f32"}, "f32", "f32"),
        ("amx_bf16", {amx.PRECISION: "bf16"}, "bf16", "f32"),
        ("avx512_bf16", {}, None, "f32"),
    ],
)
def test_only_with_amx_and_where_no_precision_was_asked_for(
    int4_dir, processor, cpuinfo, flags, given, precision, attention
):
    cpuinfo(flags)
    _, language_model = session_of(int4_dir, processor, given)
    assert language_model.ov_config.get(amx.PRECISION) == precision
    assert types_of_attention(language_model.model) == {attention}


def test_state_and_attention_are_one_node_in_every_layer(int4_dir, processor, cpuinfo):
    cpuinfo("amx_bf16")
    _, language_model = session_of(int4_dir, processor, {})
    compiled = optimum_intel.compiled_model(language_model).get_runtime_model()
    kinds = [str(node.get_rt_info()["layerType"].value) for node in compiled.get_ops()]
    layers = sum(node.get_type_name() == ATTENTION for node in language_model.model.get_ops())
    assert sum(ATTENTION in kind for kind in kinds) == layers
    assert "Softmax" not in kinds


def test_answers_go_on_from_a_cache_and_from_copies_of_it(int4_dir, processor, cpuinfo):
    """Each again by a session that has not been asked anything before."""
    cpuinfo("amx_bf16")
    session, _ = session_of(int4_dir, processor, {})
    other = ChatSession(optimum_intel.load_model(int4_dir), processor)
    first = [question("Describe this image.", MEDIA[2])]

    def answer(of: ChatSession, messages) -> str:
        return "".join(of.stream(messages, max_new_tokens=12))

    said = answer(session, first)
    assert said
    history = [*first, {"role": "assistant", "content": said}]
    later = [*history, question("Where is the circle?", None)]
    edited = [*history, question("How many shapes are there?", None)]
    same = [answer(session, asked) == answer(other, asked) for asked in (later, edited, first, later)]
    assert sum(same) >= 3, "8-bit keys and values of a copy may be rounded in another way"


def test_a_graph_that_is_written_in_another_way_is_left_as_it_is():
    tokens = opset.parameter([1, -1], np.float32)
    assert not amx.is_known(ov.Model([opset.relu(tokens)], [tokens]))
