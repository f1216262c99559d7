"""What a session asks of an OpenVINO Qwen2-VL: see a block of patches, embed tokens, place them, read them on.

Here: the one module that knows optimum-intel's `OVModelForVisualCausalLM` and OpenVINO's infer requests. Not here:
what is kept (`kept`), messages (`prompt`), choosing tokens (`decode`).

The model is edited once, in place: its language model then computes logits for the last position only (of 152 000
numbers for every token of the prompt, `generate` too uses none but the last), and the vision encoder is compiled with
VISION_SETTINGS. `model.generate` goes on working.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openvino as ov
import torch
from openvino import opset13

from session.inference import Interruptible
from session.patches import Block
from session.prompt import Prompt, joined
from session.turns import Interrupted

SUPPORTED = ("qwen2_vl", "qwen2_5_vl")
LAST_POSITION = "session/last_position"  # the node that the edited graph has and an unedited one has not
# How many activations share one scale where the CPU multiplies compressed weights by 8-bit integers. With OpenVINO's
# own 32, a 2B model sees a picture a sixth more slowly. The language model keeps 32: with 128 it would read a fifth
# faster, but write a tenth more slowly.
VISION_SETTINGS = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "128"}
SETTINGS_FOR = ("CPU", "AUTO")  # GPUs have defaults of their own


class UnsupportedModelError(TypeError):
    """A model that a session cannot run exactly, and therefore not at all."""


class VisionLanguageModel:
    """The parts of a Qwen2-VL or Qwen2.5-VL, for one thread at a time.

    model: an OVModelForVisualCausalLM with a stateful language model, compiled or not. Raises UnsupportedModelError.
    """

    def __init__(self, model):
        _check(model)
        self._model = model
        self.placeholders = (model.config.image_token_id, model.config.video_token_id)
        self.window = model.config.get_text_config().max_position_embeddings
        self.wanted: Callable[[], bool] = lambda: True  # asked every PATIENCE_MS while something is computed
        self._bytes_per_token = _bytes_per_token(model.config.get_text_config())
        _keep_last_logits(model.language_model)
        _compile(model)
        self._compiled = model.language_model.request.get_compiled_model()
        self._encoder = model.vision_embeddings_merger.request
        self._stoppable = Interruptible(self._encoder, lambda: self.wanted(), self._see_little)

    def see(self, block: Block) -> np.ndarray:
        """Features (visual tokens, hidden) of one picture, or of one temporal slice of a video. Raises Interrupted."""
        return self._see(block.patches, block.grid, self._stoppable)

    def embed(self, tokens: Sequence[int]) -> np.ndarray:
        """Embeddings (tokens, hidden) of text."""
        return np.array(self._model.get_text_embeddings(torch.tensor([list(tokens)])), dtype=np.float32)[0]

    def positions(self, prompt: Prompt) -> tuple[np.ndarray, int]:
        """M-RoPE positions (3, tokens) of a whole prompt, and the position of the first token after it."""
        grids = joined(prompt, ("image_grid_thw", "video_grid_thw", "second_per_grid_ts"))
        places, delta = self._model.get_rope_index(torch.tensor([prompt.ids]), **grids)
        return places[:, 0].numpy(), len(prompt.ids) + int(delta)

    def new_cache(self) -> "KVCache":
        return KVCache(self._compiled.create_infer_request(), lambda: self.wanted(), self._bytes_per_token)

    def _see(self, patches: torch.Tensor, grid: tuple[int, int, int], encoder: Callable) -> np.ndarray:
        part = self._model.vision_embeddings_merger
        usual, part.request = part.request, encoder
        try:
            return self._model.get_vision_embeddings(patches, torch.tensor([grid]))
        finally:
            part.request = usual

    def _see_little(self, tokens: int) -> None:
        vision, grid = self._model.config.vision_config, (1, 2, 2 * tokens)
        values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        self._see(torch.zeros(math.prod(grid), values), grid, self._encoder)


class KVCache:
    """Keys and values of the tokens read so far, in an infer request of its own.

    length: how many tokens; -1 after a `read` that failed, when nobody knows. Not thread-safe.
    """

    def __init__(self, request: ov.InferRequest, wanted: Callable[[], bool], bytes_per_token: int):
        self._request, self._wanted, self._bytes_per_token = request, wanted, bytes_per_token
        self.length = 0

    def read(self, embeddings: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Read tokens on: embeddings (tokens, hidden), positions (3, tokens). Returns the last one's logits
        (vocabulary,). Raises Interrupted where that is not wanted; once begun, it is not stopped (see
        `session.inference`).
        """
        if not self._wanted():
            raise Interrupted
        length, self.length = self.length + len(embeddings), -1
        inputs = {
            "inputs_embeds": embeddings[None],
            "attention_mask": np.ones((1, length), dtype=np.int64),
            "position_ids": positions[:, None],
            "beam_idx": np.zeros(1, dtype=np.int32),
        }
        self._request.infer(inputs, share_inputs=True)
        logits = np.array(self._request.get_tensor("logits").data[0, -1])
        self.length = length
        return logits

    def copy_from(self, other: "KVCache", length: int) -> None:
        """Become what `other` was when it had read `length` tokens."""
        states = {state.name: state for state in other._request.query_state()}
        for state in self._request.query_state():
            state.state = ov.Tensor(np.ascontiguousarray(states[state.name].state.data[:, :, :length]))
        self.length = length

    @property
    def bytes(self) -> int:
        """Size in float32: an upper bound, whatever OpenVINO stores it in; 8 bits take a quarter of it."""
        return self._bytes_per_token * self.length


def _check(model) -> None:
    kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    names = " or ".join(SUPPORTED)
    if kind not in SUPPORTED or not hasattr(model, "language_model") or not hasattr(model, "get_vision_embeddings"):
        raise UnsupportedModelError(
            f"A session runs OVModelForVisualCausalLM of type {names}; this is a {type(model).__name__} of type {kind}."
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
    if model._device in SETTINGS_FOR and settings != vision.ov_config:
        vision.ov_config, vision.request = settings, None  # compiled anew where it was compiled without them
    with ThreadPoolExecutor() as pool:
        for compiled in [pool.submit(part.compile) for part in (model.language_model, vision)]:
            compiled.result()
    model.compile()


def _bytes_per_token(config) -> int:
    """Keys and values of one token in all layers, in float32."""
    width = config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers * 2 * config.num_key_value_heads * width * 4


def _keep_last_logits(language_model) -> None:
    """Cut the last position out before the head, which is then a matrix product of one row. Does nothing twice."""
    graph = language_model.model
    if any(node.get_friendly_name() == LAST_POSITION for node in graph.get_ops()):
        return
    head = graph.output("logits").get_node()
    while head.get_type_name() != "MatMul":
        if head.get_input_size() != 1:
            raise UnsupportedModelError("The language model of this export does not end in a matrix product.")
        head = head.input_value(0).get_node()
    last = opset13.slice(head.input_value(0), [-1], [np.iinfo(np.int64).max], [1], [1], name=LAST_POSITION)
    head.input(0).replace_source_output(last.output(0))
    graph.validate_nodes_and_infer_types()
    language_model.request = None  # compiled from the graph as it was; made anew by `compile`
