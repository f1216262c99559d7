"""The language model on a processor with AMX: products in float32 with 8-bit integers, attention in bf16.

There OpenVINO computes in bf16, for which it unpacks 4-bit weights to bf16 at every token: half of a token's time. In
float32 it multiplies them by 8-bit integers instead, but then its attention, in float32 too, makes a long prompt last
twice as long. So each gets the precision in which it is fast (figures in docs/decisions.md). Not here: the vision
encoder, which stays in bf16.
"""

from adapters import optimum_intel
from adapters.openvino_runtime import has_amx, opset, ov

PRECISION = "INFERENCE_PRECISION_HINT"
# 128 activations share a scale: with OpenVINO's own 32, a prompt takes a third longer, and a token the same.
SETTINGS = {PRECISION: "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "128"}
ATTENTION = "ScaledDotProductAttention"


def prepare(language_model) -> None:
    """Edits its graph and its settings where the processor has AMX. Left as they are: a precision that the caller set,
    a graph that is edited already, and one whose attention is not written as we know it.
    """
    on_cpu = optimum_intel.requested_device(language_model) == "CPU"
    if not on_cpu or not has_amx() or PRECISION in language_model.ov_config or not is_known(language_model.model):
        return
    compute_attention_in_bf16(language_model.model)
    language_model.ov_config = SETTINGS | language_model.ov_config
    optimum_intel.discard_compiled(language_model)


def is_known(graph: ov.Model) -> bool:
    """Whether its attention is one node a layer, and its states grow by concatenation."""
    nodes = graph.get_ops()
    attention = [node for node in nodes if node.get_type_name() == ATTENTION]
    grown = [node.input_value(0).get_node() for node in nodes if node.get_type_name() == "Assign"]
    return (
        len(grown) == 2 * len(attention) > 0
        and all(node.get_input_size() > 3 for node in attention)
        and all(node.get_type_name() == "Concat" for node in grown)
    )


def compute_attention_in_bf16(graph: ov.Model) -> None:
    """In place: queries, keys, values and mask of all attention are converted to bf16, its results to float32.

    The states, which hold keys and values, stay float32 to whoever reads them. The conversions are where OpenVINO
    looks for them when it makes one node of a state and its attention.
    """
    masks: dict[tuple[str, int], ov.Output] = {}
    for node in graph.get_ordered_ops():
        kind = node.get_type_name()
        if kind == "ReadValue":
            for consumer in node.output(0).get_target_inputs():
                if consumer.get_node().get_type_name() == "Gather":
                    _convert(consumer, "bf16")
                    _measure_instead(consumer.get_node(), node)
        elif kind == "Assign":
            _convert(node.input_value(0).get_node().input(1), "bf16")  # the keys or values that are new
            _convert(node.input(0), "f32")
        elif kind == ATTENTION:
            _convert(node.input(0), "bf16")
            mask = node.input_value(3)
            known = mask.get_node().get_friendly_name(), mask.get_index()
            if known not in masks:  # all layers have the same
                masks[known] = opset.convert(mask, "bf16").output(0)
            node.input(3).replace_source_output(masks[known])
            for scale in node.inputs()[4:]:
                _convert(scale, "bf16")
            for consumer in node.output(0).get_target_inputs():
                _convert(consumer, "f32")
    graph.validate_nodes_and_infer_types()


def _convert(consumer: ov.Input, to: str) -> None:
    """What `consumer` gets, in the type `to`."""
    consumer.replace_source_output(opset.convert(consumer.get_source_output(), to).output(0))


def _measure_instead(gathered: ov.Node, state: ov.Node) -> None:
    """Whoever asks for the shape of `gathered` gets that of `state`, which is the same: else they stay two nodes."""
    for consumer in gathered.output(0).get_target_inputs():
        if consumer.get_node().get_type_name() == "ShapeOf":
            consumer.replace_source_output(state.output(0))
