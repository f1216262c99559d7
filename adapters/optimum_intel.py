"""optimum-intel's `OVModelForVisualCausalLM`: what we use of it that it does not document (2.2).

- `model._device`: the device as it was asked for, such as "AUTO"; `model.device` is torch's, and always the CPU.
- `part.request`: a part's compiled model, or the infer request of the language model; None until it is compiled, and
  whoever sets it to None has it compiled anew.
- `language_model.text_emb_request`: the compiled embeddings of text, behind `model.get_text_embeddings`.
- `model.components`: the parts by name.

Noticed by tests/test_session_exact.py and test_device_check.py. Not here: what our session computes with it
(`session.ov_model`).
"""

import contextlib
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path

from adapters.openvino_runtime import ov


def import_library() -> None:
    """Imports optimum-intel, which takes seconds: for whoever times how long loading a model takes."""
    importlib.import_module("optimum.intel.openvino")


def load_model(folder, device: str = "CPU", *, compile: bool = False, **options):
    """An OVModelForVisualCausalLM of the export in `folder`; with `compile=False`, its parts are compiled when needed.

    Importing optimum-intel takes seconds, so it is imported here. It gets the folder as a string: with HF_HUB_OFFLINE
    it prints an error for a Path (and loads the model all the same).
    """
    from optimum.intel.openvino import OVModelForVisualCausalLM

    return OVModelForVisualCausalLM.from_pretrained(str(folder), device=device, compile=compile, **options)


def requested_device(model) -> str:
    """The device that `model` was loaded for, such as "AUTO"; "" for a model that has none."""
    return getattr(model, "_device", "")


def model_folder(model) -> Path:
    """The folder that `model` was loaded from; the current one for a model that does not know it."""
    return Path(str(getattr(model, "model_save_dir", None) or ""))


def execution_devices(model) -> set[str]:
    """The devices that the parts of `model` run on, such as {"GPU.0"}; compiles what is not compiled yet."""
    found: set[str] = set()
    for part in model.components.values():
        if part.request is None:
            part.compile()
        devices = compiled_model(part).get_property("EXECUTION_DEVICES")
        found.update([devices] if isinstance(devices, str) else devices)
    return found


def compiled_model(part) -> ov.CompiledModel:
    """Of a part that is compiled; of the language model, optimum-intel keeps an infer request instead."""
    request = part.request
    return request.get_compiled_model() if hasattr(request, "get_compiled_model") else request


def compiled_embeddings(model) -> ov.CompiledModel:
    """Token ids (batch, tokens) to embeddings (batch, tokens, hidden), of a model that is compiled."""
    return model.language_model.text_emb_request


def discard_compiled(part) -> None:
    """Has `part` compiled anew when it is needed next: its graph or its settings have changed."""
    part.request = None


@contextlib.contextmanager
def called_instead(part, replacement: Callable) -> Iterator[None]:
    """Inside, optimum-intel calls `replacement` where it would call the compiled model of `part`."""
    usual, part.request = part.request, replacement
    try:
        yield
    finally:
        part.request = usual
