"""An inference that can be stopped half way, and what has to be done after it was.

Here: waiting, cancelling, setting a graph right again. Not here: what is inferred (`model`).
"""

import contextlib
from collections.abc import Callable

import numpy as np
import openvino as ov

from session.turns import Interrupted

PATIENCE_MS = 20  # between two looks whether somebody still wants what is being computed
LITTLE = (2, 3)  # visual tokens of a picture that sets the graph right; others have more


class Interruptible:
    """Stands in for the compiled vision encoder where optimum-intel calls it, and raises Interrupted as soon as its
    result is not `wanted` any more. For one thread at a time.

    A cancelled inference leaves OpenVINO's CPU graph half way: nodes hold the output shapes of the cancelled inputs,
    and take the inputs before those for the last ones. The next picture of the size of the one before would be computed
    with the wrong shapes, and crash the process (OpenVINO 2026.4). So after each cancelled one, `see_little` looks at
    something of another size. For a language model, which has a state, that is not enough: never cancel one.
    """

    def __init__(self, compiled: ov.CompiledModel, wanted: Callable[[], bool], see_little: Callable[[int], None]):
        self._compiled, self._wanted, self._see_little = compiled, wanted, see_little
        self._last = 0  # patches of the last inference that ended
        self._half_way = False

    def __call__(self, inputs: dict, *args, **kwargs) -> list[np.ndarray]:
        request = self._compiled.create_infer_request()  # a new one: it would hold on to its inputs, 100 MB of mask
        self._set_right()
        self._half_way = True
        try:
            self._infer(request, inputs)
        except BaseException:
            self._set_right()
            raise
        self._half_way, self._last = False, len(inputs["hidden_states"])
        return [np.array(tensor.data) for tensor in request.output_tensors]

    def _infer(self, request: ov.InferRequest, inputs: dict) -> None:
        """Whatever is raised, nothing runs afterwards."""
        try:
            request.start_async(inputs, share_inputs=True)
            while not request.wait_for(PATIENCE_MS):
                if not self._wanted():
                    raise Interrupted
        except BaseException:  # Ctrl-C comes here too
            request.cancel()
            with contextlib.suppress(RuntimeError):  # which says that it was cancelled
                request.wait()
            raise
        request.wait()  # raises what went wrong

    def _set_right(self) -> None:
        if self._half_way:
            tokens = next(tokens for tokens in LITTLE if 4 * tokens != self._last)
            self._see_little(tokens)
            self._half_way, self._last = False, 4 * tokens
