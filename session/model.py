"""What a session asks of an OpenVINO Qwen2-VL: see a block of patches, embed tokens, place them, read them on.

Here: the one module that knows optimum-intel's `OVModelForVisualCausalLM` and OpenVINO's infer requests. Not here:
what is kept (`kept`), messages (`prompt`), choosing tokens (`decode`).

The model is edited once, in place: its language model then computes logits for the last position only (of 152 000
numbers for every token of the prompt, `generate` too uses none but the last). `model.generate` goes on working.
"""

import contextlib
import gc
from collections.abc import Callable, Sequence

import numpy as np
import openvino as ov
import torch
from openvino import opset13

from session.prompt import Block, Prompt, joined

SUPPORTED = ("qwen2_vl", "qwen2_5_vl")
LAST_POSITION = "session/last_position"  # the node that the edited graph has and an unedited one has not
PATIENCE_MS = 20  # between two looks whether somebody still wants what is being computed


class UnsupportedModelError(TypeError):
    """A model that a session cannot run exactly, and therefore not at all."""


class Interrupted(Exception):
    """A computation was stopped half-way, because nobody wants its result any more."""


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
        _keep_last_logits(model.language_model)
        model.compile()
        model.vision_embeddings_merger.request = _Interruptible(model.vision_embeddings_merger.request, self)
        self._compiled = model.language_model.request.get_compiled_model()

    def see(self, block: Block) -> np.ndarray:
        """Features (visual tokens, hidden) of one picture, or of one temporal slice of a video."""
        features = self._model.get_vision_embeddings(block.patches, torch.tensor([block.grid]))
        return np.array(features, dtype=np.float32)

    def embed(self, tokens: Sequence[int]) -> np.ndarray:
        """Embeddings (tokens, hidden) of text."""
        return np.array(self._model.get_text_embeddings(torch.tensor([list(tokens)])), dtype=np.float32)[0]

    def positions(self, prompt: Prompt) -> tuple[np.ndarray, int]:
        """M-RoPE positions (3, tokens) of a whole prompt, and the position of the first token after it."""
        grids = joined(prompt, ("image_grid_thw", "video_grid_thw", "second_per_grid_ts"))
        places, delta = self._model.get_rope_index(torch.tensor([prompt.ids]), **grids)
        return places[:, 0].numpy(), len(prompt.ids) + int(delta)

    def new_cache(self) -> "KVCache":
        return KVCache(self._compiled.create_infer_request(), lambda: self.wanted())


class KVCache:
    """Keys and values of the tokens read so far, in an infer request of its own.

    Not thread-safe. An interrupted `read` leaves the cache as it was before.
    """

    def __init__(self, request: ov.InferRequest, wanted: Callable[[], bool]):
        self._request, self._wanted = request, wanted
        self.length = 0
        self.bytes_per_token = 0  # as OpenVINO shows them, in float32; an 8-bit cache takes a quarter of it

    def read(self, embeddings: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Read tokens on: embeddings (tokens, hidden), positions (3, tokens). Returns the last one's logits
        (vocabulary,).
        """
        tokens = len(embeddings)
        inputs = {
            "inputs_embeds": embeddings[None],
            "attention_mask": np.ones((1, self.length + tokens), dtype=np.int64),
            "position_ids": positions[:, None],
            "beam_idx": np.zeros(1, dtype=np.int32),
        }
        try:
            _run(self._request, inputs, self._wanted)
        except BaseException:
            self._cut(self.length)  # some layers have read the tokens, some have not
            raise
        self.length += tokens
        return np.array(self._request.get_tensor("logits").data[0, -1])

    def trim(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        if length < self.length:
            self._cut(length)
            self.length = length

    def copy_from(self, other: "KVCache", length: int) -> None:
        """Become what `other` was when it had read `length` tokens."""
        states = {state.name: state for state in other._request.query_state()}
        for state in self._request.query_state():
            state.state = ov.Tensor(np.ascontiguousarray(states[state.name].state.data[:, :, :length]))
        self.length = length

    @property
    def bytes(self) -> int:
        """Size of the states as OpenVINO shows them, in float32: an upper bound, whatever the cache is stored in."""
        if not self.bytes_per_token and self.length:
            shapes = [state.state.shape for state in self._request.query_state()]
            self.bytes_per_token = sum(int(shape[1] * shape[3]) * 4 for shape in shapes)
        return self.bytes_per_token * self.length

    def _cut(self, length: int) -> None:
        if length == 0:
            self._request.reset_state()
            return
        for state in self._request.query_state():
            state.state = ov.Tensor(np.ascontiguousarray(state.state.data[:, :, :length]))


class _Interruptible:
    """Stands where optimum-intel keeps a compiled model, and is called as that is."""

    def __init__(self, compiled: ov.CompiledModel, owner: VisionLanguageModel):
        self._request, self._owner = compiled.create_infer_request(), owner

    def __call__(self, inputs, *args, **kwargs) -> list[np.ndarray]:
        _run(self._request, inputs, self._owner.wanted)
        return [np.array(tensor.data) for tensor in self._request.output_tensors]


def _run(request: ov.InferRequest, inputs: dict, wanted: Callable[[], bool]) -> None:
    """Infer; raise Interrupted when it is not `wanted` any more. Whatever is raised, nothing runs afterwards."""
    request.start_async(inputs, share_inputs=True)
    try:
        while not request.wait_for(PATIENCE_MS):
            if not wanted():
                raise Interrupted
    except BaseException:  # Ctrl-C comes here too
        request.cancel()
        with contextlib.suppress(RuntimeError):  # which says that it was cancelled
            request.wait()
        raise
    request.wait()  # raises what went wrong


def _check(model) -> None:
    kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    names = " or ".join(SUPPORTED)
    if kind not in SUPPORTED or not hasattr(model, "language_model") or not hasattr(model, "get_vision_embeddings"):
        raise UnsupportedModelError(
            f"A session runs OVModelForVisualCausalLM of type {names}; this is a {type(model).__name__} of type {kind}."
        )
    inputs = {name for port in model.language_model.model.inputs for name in port.get_names()}
    if not model.language_model.stateful or "beam_idx" not in inputs:
        raise UnsupportedModelError("This model was exported without a state: leave --disable-stateful out.")


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
    gc.collect()
