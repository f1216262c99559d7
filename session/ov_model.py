"""What a session asks of an OpenVINO Qwen-VL: encode a picture, embed tokens, give them positions, make a KV cache.

Here: the one module of `session/` that knows optimum-intel's `OVModelForVisualCausalLM` and its graphs. Not here: what
is kept (`caches`), messages (`prompt`), choosing tokens (`decode`).

The model is edited once, in place: its language model then computes logits for the last positions only (of 152 000
numbers for every token of the prompt, `generate` uses none but the last), and the vision encoder is compiled
with VISION_SETTINGS. `model.generate` goes on working.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from adapters import optimum_intel
from adapters.openvino_runtime import CancellableModel, InferenceCancelled, MappedFile, largest_weights, opset, ov
from adapters.qwen_vl import MODEL_TYPES
from session import amx
from session.answer import Interrupted
from session.caches import KVCache
from session.prompt import Prompt, joined_inputs
from session.vision_inputs import VisionBlock

MAX_LOGIT_ROWS = 4  # so many tokens in one forward pass have logits each; of more, the last one alone
LAST_POSITIONS = "session/last_positions"  # the node that the edited graph has and an unedited one has not
# How many activations share one scale where the CPU multiplies compressed weights by 8-bit integers. With OpenVINO's
# own 32, a 2B model encodes a picture a sixth more slowly. The language model keeps 32: with 128 it would prefill a
# fifth faster, but decode a tenth more slowly (Zen 4; it depends on the processor, see docs/decisions.md).
VISION_SETTINGS = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "128"}
SETTINGS_FOR = ("CPU", "AUTO")  # GPUs have defaults of their own
PATCHES = "hidden_states"  # the vision encoder's input of (patches, width)
MASK = "attention_mask"  # and its input of (1, patches, patches), zero where one patch sees another


class UnsupportedModelError(TypeError):
    """A model that a session cannot run exactly, and therefore not at all."""


class PlainGraphs:
    """Qwen2-VL and Qwen2.5-VL: what was seen enters the language model with the embeddings of text."""

    def __init__(self, config):
        self.extra_layers = 0

    def features(self, encoded) -> np.ndarray:
        """Features (1, visual tokens, hidden) from what optimum-intel's `get_vision_embeddings` returns."""
        return np.asarray(encoded)[None]


class DeepStackGraphs:
    """Qwen3-VL: what the vision encoder saw in some of its earlier layers is added to the visual tokens behind the
    first layers of the language model (DeepStack, https://arxiv.org/abs/2406.04334).
    """

    def __init__(self, config):
        self.extra_layers = len(config.vision_config.deepstack_visual_indexes)

    def features(self, encoded) -> np.ndarray:
        """Features (1 + extra_layers, visual tokens, hidden)."""
        embeddings, deepstack = encoded
        return np.concatenate([embeddings[None], deepstack])


GRAPHS = {"qwen2_vl": PlainGraphs, "qwen2_5_vl": PlainGraphs, "qwen3_vl": DeepStackGraphs}


class VisionLanguageModel:
    """The parts of a Qwen2-VL, Qwen2.5-VL or Qwen3-VL, for one thread at a time.

    model: an OVModelForVisualCausalLM with a stateful language model, compiled or not. Raises UnsupportedModelError.
    """

    def __init__(self, model):
        _check_supported(model)
        self._model = model
        self._graphs = GRAPHS[model.config.model_type](model.config)
        self.placeholder_ids = (model.config.image_token_id, model.config.video_token_id)
        self.context_length = model.config.get_text_config().max_position_embeddings
        self.wanted: Callable[[], bool] = lambda: True  # polled while something is computed
        self._bytes_per_token = _bytes_per_token(model.config.get_text_config())
        _cut_logits(model.language_model)
        amx.prepare(model.language_model)
        _compile(model)
        self._language_model = optimum_intel.compiled_model(model.language_model)
        self._embeddings = optimum_intel.compiled_embeddings(model).create_infer_request()
        self._encoder = optimum_intel.compiled_model(model.vision_embeddings_merger)
        self._cancellable_encoder = CancellableModel(self._encoder, PATCHES, lambda: self.wanted(), self._encode_dummy)
        folder = optimum_intel.model_folder(model)
        self._encoder_file = _mapped_file(folder, "vision_embeddings_merger", model.vision_embeddings_merger)
        self._language_file = _mapped_file(folder, "language", model.language_model)

    def encode(self, block: VisionBlock) -> np.ndarray:
        """Features (1 + DeepStack's layers, visual tokens, hidden) of one picture, or of one temporal slice of a video.
        Raises Interrupted.
        """
        try:
            with self._encoder_file.unpacking():
                encoded = self._encode(block.patches, block.grid, self._cancellable_encoder)
                return self._graphs.features(encoded)
        except InferenceCancelled as error:
            raise Interrupted from error

    def embed(self, tokens: Sequence[int]) -> np.ndarray:
        """Embeddings (1 + DeepStack's layers, tokens, hidden) of text: what enters the language model, and what is
        added behind its first layers, which for text is zeros.
        """
        self._embeddings.infer([np.array([tokens], dtype=np.int64)], share_inputs=True)
        embeddings = np.array(self._embeddings.get_output_tensor().data, dtype=np.float32)
        return np.concatenate([embeddings, *[np.zeros_like(embeddings)] * self._graphs.extra_layers])

    def position_ids(self, prompt: Prompt) -> tuple[np.ndarray, int]:
        """M-RoPE positions (3, tokens) of a whole prompt: time, height, width. And the position of the first token
        after it. https://arxiv.org/abs/2409.12191, section 2.1.
        """
        grids = joined_inputs(prompt, ("image_grid_thw", "video_grid_thw", "second_per_grid_ts"))
        positions, delta = self._model.get_rope_index(torch.tensor([prompt.ids]), **grids)
        return positions[:, 0].numpy(), len(prompt.ids) + int(delta)

    def new_cache(self) -> KVCache:
        """An empty KV cache."""
        request = self._language_model.create_infer_request()
        return KVCache(request, lambda: self.wanted(), self._bytes_per_token, self._language_file)

    def _encode(self, patches: torch.Tensor, grid: tuple[int, int, int], encoder: Callable):
        def with_small_mask(inputs: dict, *args, **kwargs):
            """Optimum Intel masks pictures from each other. Of one alone everything sees everything: a row of zeros
            says so, too, and need not be read patches × patches times by every head of every layer.
            """
            row = np.zeros((1, 1, len(inputs[PATCHES])), dtype=np.float32)
            return encoder({**inputs, MASK: row}, *args, **kwargs)

        on_cpu = optimum_intel.requested_device(self._model) == "CPU"  # where it was tried
        replacement = with_small_mask if on_cpu else encoder
        with optimum_intel.called_instead(self._model.vision_embeddings_merger, replacement):
            return self._model.get_vision_embeddings(patches, torch.tensor([grid]))

    def _encode_dummy(self, patches: int) -> None:
        """A black picture of two rows of patches, by the encoder that cannot be cancelled."""
        vision, grid = self._model.config.vision_config, (1, 2, patches // 2)
        values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        self._encode(torch.zeros(math.prod(grid), values), grid, self._encoder)


def _mapped_file(folder: Path, name: str, part) -> MappedFile:
    """The weights of a part of the model that was loaded from `folder`."""
    return MappedFile(folder / f"openvino_{name}_model.bin", largest_weights(part.model))


def _check_supported(model) -> None:
    kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    if kind not in MODEL_TYPES or not hasattr(model, "language_model") or not hasattr(model, "get_vision_embeddings"):
        raise UnsupportedModelError(
            f"A session runs OVModelForVisualCausalLM of type {' or '.join(MODEL_TYPES)}; this is a "
            f"{type(model).__name__} of type {kind}."
        )
    if not isinstance(model.language_model.model, ov.Model):
        raise UnsupportedModelError("This model was loaded with compile_only=True, so its graph is gone. Leave it out.")
    inputs = {name for port in model.language_model.model.inputs for name in port.get_names()}
    if not model.language_model.stateful or "beam_idx" not in inputs:
        raise UnsupportedModelError("This model was exported without a state: leave --disable-stateful out.")


def _compile(model) -> None:
    """The two large parts at the same time, because OpenVINO compiles with one thread; then the small rest."""
    vision = model.vision_embeddings_merger
    settings = VISION_SETTINGS | vision.ov_config  # what the caller set stands
    if optimum_intel.requested_device(model) in SETTINGS_FOR and settings != vision.ov_config:
        vision.ov_config = settings
        optimum_intel.discard_compiled(vision)
    with ThreadPoolExecutor() as pool:
        for compiled in [pool.submit(part.compile) for part in (model.language_model, vision)]:
            compiled.result()
    model.compile()


def _bytes_per_token(config) -> int:
    """Bytes of the keys and values of one token in all layers, in float32."""
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers * 2 * config.num_key_value_heads * head_dim * 4


def _cut_logits(language_model) -> None:
    """Let only the last positions through to the head: all of MAX_LOGIT_ROWS, of more only one."""
    graph = language_model.model
    # An edited graph is left as it is.
    if any(node.get_friendly_name() == LAST_POSITIONS for node in graph.get_ops()):
        return
    head = graph.output("logits").get_node()
    while head.get_type_name() != "MatMul":
        if head.get_input_size() != 1:
            raise UnsupportedModelError("The language model of this export does not end in a matrix product.")
        head = head.input_value(0).get_node()
    hidden_states = head.input_value(0)
    tokens = opset.gather(opset.shape_of(hidden_states, "i64"), np.array([1]), 0)
    are_few = opset.less_equal(tokens, np.array([MAX_LOGIT_ROWS]))
    first = opset.select(are_few, np.array([0]), np.array([-1]))
    last = opset.slice(hidden_states, first, [np.iinfo(np.int64).max], [1], [1], name=LAST_POSITIONS)
    head.input(0).replace_source_output(last.output(0))
    graph.validate_nodes_and_infer_types()
    optimum_intel.discard_compiled(language_model)
