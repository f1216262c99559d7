"""OpenVINO's runtime as we import it, and two of its behaviours that its documentation does not mention.

Import `ov` and `opset` from here and not from `openvino`, which reports that it was imported unless it is told not to
before (`adapters.library_telemetry`). Noticed by tests/test_telemetry.py, test_session_exact.py (cancelling) and
test_mapped_weights.py (memory).
"""

import contextlib
import ctypes
import mmap
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from adapters.library_telemetry import turn_off_library_telemetry

turn_off_library_telemetry()

import openvino as ov  # noqa: E402
from openvino import opset13 as opset  # noqa: E402

__all__ = ["CancellableModel", "InferenceCancelled", "MappedFile", "has_amx", "largest_weights", "opset", "ov"]

POLL_MS = 20  # between two checks whether the result of an inference is still wanted
RESET_SIZES = (8, 12)  # rows of the dummy inputs that reset a graph: one of the two differs from the last inputs
RELEASE_S = 0.1  # between two times that the pages of a file are given back while it is unpacked
CPUINFO = Path("/proc/cpuinfo")
MEMORY_MAP = Path("/proc/self/maps")  # https://docs.kernel.org/filesystems/proc.html


def has_amx() -> bool:
    """Whether the processor multiplies matrices of bf16 in tiles (Linux alone says so; OpenVINO does not tell)."""
    return CPUINFO.exists() and "amx_bf16" in CPUINFO.read_text(encoding="utf-8").split()


class InferenceCancelled(Exception):
    """An inference was stopped half way, because its result is not wanted any more."""


class CancellableModel:
    """Calls a compiled model without a state, and raises InferenceCancelled as soon as `wanted()` is false.

    compiled: its first dimension is dynamic. first_input: name of an input whose first dimension that is.
    run_dummy(rows): has the compiled model infer made-up inputs of so many rows. For one thread at a time.

    A cancelled inference leaves OpenVINO's CPU graph half way: nodes hold the output shapes of the cancelled inputs,
    and take the inputs before those for the last ones. The next inputs of the size of the ones before would be computed
    with the wrong shapes, and crash the process (OpenVINO 2026.4). So after each cancelled inference, dummy inputs of
    another size go through the graph. For a model with a state that is not enough: never cancel one.
    """

    def __init__(
        self,
        compiled: ov.CompiledModel,
        first_input: str,
        wanted: Callable[[], bool],
        run_dummy: Callable[[int], None],
    ):
        self._compiled = compiled
        self._first_input = first_input
        self._wanted = wanted
        self._run_dummy = run_dummy
        self._last_rows = 0  # of the last inference that ended
        self._is_half_way = False

    def __call__(self, inputs: dict, *args, **kwargs) -> list[np.ndarray]:
        """Outputs of the model for `inputs`, {name: array}, as copies; further arguments are ignored."""
        request = self._compiled.create_infer_request()  # a new one: it would hold on to its inputs, 100 MB of mask
        self._reset_graph()
        self._is_half_way = True
        try:
            self._infer(request, inputs)
        except BaseException:
            self._reset_graph()
            raise
        self._is_half_way = False
        self._last_rows = len(inputs[self._first_input])
        return [np.array(tensor.data) for tensor in request.output_tensors]

    def _infer(self, request: ov.InferRequest, inputs: dict) -> None:
        """Whatever is raised, nothing runs afterwards."""
        try:
            request.start_async(inputs, share_inputs=True)
            while not request.wait_for(POLL_MS):
                if not self._wanted():
                    raise InferenceCancelled
        except BaseException:  # Ctrl-C comes here too
            request.cancel()
            with contextlib.suppress(RuntimeError):  # which says that it was cancelled
                request.wait()
            raise
        request.wait()  # raises what went wrong

    def _reset_graph(self) -> None:
        if self._is_half_way:
            rows = next(rows for rows in RESET_SIZES if rows != self._last_rows)
            self._run_dummy(rows)
            self._is_half_way = False
            self._last_rows = rows


class MappedFile:
    """A file of weights that would be in memory twice.

    OpenVINO maps it, and at the first inference its CPU plugin unpacks the weights into copies of its own. The mapped
    pages stay with the process, 1.5 GB for an INT4 export of 2B, until the system needs memory for something else. Here
    they are given back before that. On other systems than Linux nothing is done.

    weights: an array in the file, as `largest_weights` finds it. It is held, and with it the place where OpenVINO
    mapped the file for this model. Another model of the same file has a place of its own, which may be unmapped, and
    then be anybody's memory, between the look at what is mapped and the call that empties it.
    """

    def __init__(self, path: Path, weights: np.ndarray):
        self._path = str(path.resolve())
        self._weights = weights
        self._is_unpacked = sys.platform != "linux"

    @contextlib.contextmanager
    def unpacking(self) -> Iterator[None]:
        """Inside, OpenVINO unpacks the file. Its pages are given back meanwhile, so that all of them and all copies are
        never in memory at the same time, and once more at the end. After the first time that ended well, this does
        nothing. Whoever reads a page later gets it from the file again: this frees, and breaks nothing.
        """
        if self._is_unpacked:
            yield
            return
        stopped = threading.Event()
        releasing = threading.Thread(target=self._release_until, args=(stopped,), daemon=True)
        releasing.start()
        try:
            yield
        finally:
            stopped.set()
            releasing.join()
            self._release()
        self._is_unpacked = True

    def _release_until(self, stopped: threading.Event) -> None:
        while not stopped.wait(RELEASE_S):
            self._release()

    def _release(self) -> None:
        madvise, address = ctypes.CDLL(None).madvise, self._weights.ctypes.data
        for line in MEMORY_MAP.read_text(encoding="utf-8", errors="replace").splitlines():
            span, *_, name = line.split(maxsplit=5)
            begin, end = (int(border, 16) for border in span.split("-"))
            if name == self._path and begin <= address < end:
                madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)


def largest_weights(graph: ov.Model) -> np.ndarray:
    """Of the constants of a graph that has some: as they lie in memory, which is where the file is mapped."""
    constants = [node for node in graph.get_ops() if node.get_type_name() == "Constant"]
    return max(constants, key=lambda node: node.get_byte_size()).data
