"""`environment.devices`: what the dropdown offers, and which typed devices are refused."""

import pytest

from environment import devices
from environment.devices import DeviceError, device_widget, require_device


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(devices, "available_devices", lambda: ["CPU", "GPU.0", "GPU.1", "NPU"])


def test_the_device_widget_offers_what_is_there_and_auto(two_gpus):
    widget = device_widget()
    assert (widget.options, widget.value) == (("CPU", "GPU.0", "GPU.1", "NPU", "AUTO"), "AUTO")


def test_excluded_devices_are_not_offered(two_gpus):
    assert device_widget(exclude=["NPU", "GPU.1"]).options == ("CPU", "GPU.0", "AUTO")
    assert device_widget(exclude=["GPU"]).options == ("CPU", "NPU", "AUTO")


def test_a_default_that_is_not_there_gives_way_to_one_that_is(two_gpus):
    assert device_widget(default="GPU.1").value == "GPU.1"
    assert device_widget(default="GPU.7").value == "CPU"
    assert device_widget(default="AUTO", exclude=["AUTO"]).value == "CPU"


def test_excluding_everything_is_an_error(two_gpus):
    with pytest.raises(DeviceError, match="leaves no device"):
        device_widget(exclude=["CPU", "GPU", "NPU", "AUTO"])


@pytest.mark.parametrize("name", ["CPU", "AUTO"])
def test_the_chosen_device_is_the_one_that_computes(int4_dir, name):
    """As the notebook does it. The seed passed the device into another parameter, where it had no effect."""
    from optimum.intel.openvino import OVModelForVisualCausalLM

    model = OVModelForVisualCausalLM.from_pretrained(str(int4_dir), device=require_device(device_widget(name).value))
    compiled = model.language_model.request.get_compiled_model()
    assert compiled.get_property("EXECUTION_DEVICES") == ["CPU"], "all that a machine without a GPU can choose from"
    assert ("DEVICE_PRIORITIES" in str(compiled.get_property("SUPPORTED_PROPERTIES"))) == (name == "AUTO")


@pytest.mark.parametrize("name", ["CPU", "cpu", "CPU.0", " GPU.1 ", "GPU", "AUTO", "AUTO:GPU,CPU", "MULTI:GPU.0,CPU"])
def test_devices_that_exist_are_accepted(two_gpus, name):
    assert require_device(name) == name.strip().upper()


@pytest.mark.parametrize("name", ["GPU.2", "TPU", "", "AUTO:CPU,TPU", "CPU:0"])
def test_a_device_that_does_not_exist_is_refused_with_those_that_do(two_gpus, name):
    with pytest.raises(DeviceError, match=r"Choose one of: CPU, GPU\.0, GPU\.1, NPU, AUTO"):
        require_device(name)
