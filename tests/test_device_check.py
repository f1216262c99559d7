"""environment.device_check: devices that compute nonsense are named, those that round differently are not.

There is no other device than the CPU here. `Pretending` is the practice model on the CPU that says it runs elsewhere
and whose logits are changed on the way out; what it is compared with is the real copy on the CPU.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from catalog.open import open_model
from environment import device_check
from environment.device_check import DeviceCheckError, compare, copy_bytes, devices_of, self_check
from environment.machine import Machine


class Pretending:
    """A model on device `device`, which AUTO may have chosen; `spoil(logits)` -> the logits that it computes."""

    def __init__(self, model, spoil=lambda logits: logits, device="GPU.0", asked=None):
        self._model, self._spoil = model, spoil
        self._device, self.model_save_dir = asked or device, model.model_save_dir
        request = SimpleNamespace(get_property=lambda name: [device])
        self.components = {"language_model": SimpleNamespace(request=request)}

    def generate(self, **inputs):
        result = self._model.generate(**inputs)
        result.logits = tuple(self._spoil(step) for step in result.logits)
        return result


def rounded(logits):
    return logits.to(torch.bfloat16).float() + 0.02 * logits.std() * torch.sin(torch.arange(logits.shape[-1]))


def permuted(logits):
    return logits.flip(-1)


def with_nan(logits):
    return torch.where(torch.arange(logits.shape[-1]) == 5, torch.nan, logits)


def infinite(logits):
    return torch.full_like(logits, -torch.inf)


def constant(logits):
    return torch.zeros_like(logits)


def another_first_choice(logits):
    """All else is right, but a word that the CPU finds very unlikely is said."""
    return torch.where(logits == logits.min(), logits.max() + 1, logits)


@pytest.fixture(scope="module")
def on_cpu(int4_dir, processor) -> np.ndarray:
    return device_check.logits_on_cpu(int4_dir, device_check.short_question(processor))


@pytest.fixture
def one_copy(on_cpu, monkeypatch):
    """The copy's logits, computed once for all tests: the question is always the same."""
    monkeypatch.setattr(device_check, "logits_on_cpu", lambda *_: on_cpu)


@pytest.mark.parametrize("asked", ["GPU.0", "AUTO"])
def test_a_device_that_rounds_differently_passes(ov_model, processor, one_copy, asked):
    verdict = self_check(Pretending(ov_model, rounded, asked=asked), processor)
    assert verdict.endswith("of their spread.") and "GPU.0 computes what the CPU does: 4 tokens" in verdict
    assert verdict.startswith("AUTO took GPU.0. " if asked == "AUTO" else "GPU.0 computes")


@pytest.mark.parametrize(("spoil", "says"), [
    (with_nan, "GPU.0 computes what is no number"), (infinite, "GPU.0 computes what is no number .*: 100% of"),
    (permuted, "something else than the CPU: at word piece 1 "), (constant, "something else than the CPU"),
    (another_first_choice, "times less likely than its own"),
])
def test_a_device_that_computes_nonsense_is_named_with_what_to_do(ov_model, processor, one_copy, spoil, says):
    with pytest.raises(DeviceCheckError, match=f"(?s){says}.*What to do: choose the CPU") as caught:
        self_check(Pretending(ov_model, spoil), processor)
    assert "\n" not in str(caught.value)


def test_a_driver_that_fails_is_named(ov_model, processor):
    def fail(logits):
        raise RuntimeError("[GPU] clEnqueueNDRangeKernel, error code: -5")

    with pytest.raises(DeviceCheckError, match=r"(?s)GPU\.0 cannot run this model: \[GPU\] clEnqueue.*What to do"):
        self_check(Pretending(ov_model, fail), processor)


@pytest.mark.parametrize("device", ["CPU", "AUTO"])
def test_on_the_cpu_nothing_is_computed_and_auto_says_that_it_took_it(int4_dir, processor, monkeypatch, device):
    """A real model on AUTO: on a machine without a GPU it takes the CPU; with one this test's model is compared."""
    from optimum.intel.openvino import OVModelForVisualCausalLM

    model = OVModelForVisualCausalLM.from_pretrained(str(int4_dir), device=device)
    taken = devices_of(model)
    if taken == ["CPU"]:
        monkeypatch.setattr(model, "generate", lambda **_: pytest.fail("the model was run"))
    verdict = self_check(model, processor)
    assert verdict.startswith(f"AUTO took {', '.join(taken)}. ") == (device == "AUTO")
    assert ("Nothing to compare" in verdict) == (taken == ["CPU"])


def test_a_model_that_a_session_has_edited_is_compared_too(int4_dir, processor):
    """As `make demo` does it: the session compiles and edits the model first."""
    from optimum.intel.openvino import OVModelForVisualCausalLM

    from chat_session import ChatSession

    model = OVModelForVisualCausalLM.from_pretrained(str(int4_dir), device="CPU", compile=False)
    ChatSession(model, processor)
    assert devices_of(model) == ["CPU"]
    assert "4 tokens" in self_check(Pretending(model), processor)


@pytest.mark.parametrize("family", ["qwen25_dir", "qwen3_dir"])
def test_its_successors_are_compared_too(family, request):
    folder = request.getfixturevalue(family)
    model, processor = open_model(folder)
    assert "4 tokens" in self_check(Pretending(model, rounded), processor)


def test_without_memory_for_a_copy_only_numbers_are_looked_for(ov_model, processor, int4_dir, monkeypatch):
    little = Machine(memory_free=copy_bytes(int4_dir) - 1, memory_total=1 << 40, disk_free=0, cores=1)
    monkeypatch.setattr(device_check, "this_machine", lambda: little)
    monkeypatch.setattr(device_check, "logits_on_cpu", lambda *_: pytest.fail("a copy was made"))
    assert "whether they are right is not known" in self_check(Pretending(ov_model, permuted), processor)
    with pytest.raises(DeviceCheckError, match="no number"):
        self_check(Pretending(ov_model, with_nan), processor)


def test_the_question_has_as_many_visual_tokens_as_it_says(processor):
    inputs = device_check.short_question(processor)
    assert int((inputs["input_ids"] == processor.image_token_id).sum()) == device_check.VISUAL_TOKENS == 16


def test_auto_is_waited_for_while_it_still_answers_on_the_cpu(monkeypatch):
    told = iter(["(CPU)", "(CPU)", "GPU.0"])
    request = SimpleNamespace(get_property=lambda name: next(told))
    monkeypatch.setattr(device_check.time, "sleep", lambda seconds: None)
    model = SimpleNamespace(components={"language_model": SimpleNamespace(request=request)})
    assert devices_of(model) == ["GPU.0"]


def test_answers_that_part_at_a_tie_are_compared_up_to_there():
    expected = np.array([[0.0, 5.0, 4.99], [0.0, 1.0, 9.0]])
    got = np.array([[0.0, 4.99, 5.0], [9.0, 1.0, 0.0]])  # the second token is an answer to another beginning
    assert 0 < compare(got, expected, "GPU") < 0.01
