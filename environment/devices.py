"""What a reader chooses with a click (device, weight format), and the check of a device that was typed.

The choice of a model is in `catalog/choices.py`, its costs are in `catalog/costs.py`.
"""

from environment.telemetry import turn_off_library_telemetry

AUTOMATIC = "AUTO"
COMBINING = (AUTOMATIC, "MULTI", "HETERO")  # take a list of devices after a colon, as in "AUTO:GPU,CPU"
WEIGHT_FORMATS = {
    "INT4: 4 bits for each weight, the smallest": "int4",
    "INT8: 8 bits": "int8",
    "FP16: 16 bits, not compressed": "fp16",
    "FP32: 32 bits, for comparisons": "fp32",
}


class DeviceError(ValueError):
    """A device that OpenVINO does not find here; the message lists those that it does."""


def available_devices() -> list[str]:
    """The names OpenVINO gives to what it can run on here, such as ["CPU", "GPU.0", "GPU.1"]."""
    turn_off_library_telemetry()  # importing openvino reports the import
    import openvino

    return openvino.Core().available_devices


def require_device(name: str) -> str:
    """Returns `name` in OpenVINO's spelling, or raises DeviceError if there is no such device."""
    family, _, members = name.strip().upper().partition(":")
    found = available_devices()
    wanted = [member.strip() for member in members.split(",") if member.strip()]
    for device in wanted if family in COMBINING else [name.strip().upper()]:
        if not any(device in (known, f"{known}.0", known.partition(".")[0]) for known in found):
            raise DeviceError(f"There is no device {device!r} on this machine. Choose one of: "
                              f"{', '.join([*found, AUTOMATIC])}.")
    return name.strip().upper()


def device_widget(default: str = AUTOMATIC, exclude: list[str] | None = None):
    """A dropdown of the devices found here and AUTO; its `.value` goes to `from_pretrained(..., device=...)`.

    exclude: devices to leave out; "GPU" stands for every GPU. Where `default` is not on offer, the first one is chosen.
    Raises DeviceError if nothing is left to choose.
    """
    import ipywidgets

    left_out = set(exclude or ())
    offered = [name for name in [*available_devices(), AUTOMATIC]
               if name not in left_out and name.partition(".")[0] not in left_out]
    if not offered:
        raise DeviceError(f"exclude={exclude} leaves no device to choose; found: {', '.join(available_devices())}.")
    return ipywidgets.Dropdown(options=offered, value=default if default in offered else offered[0],
                               description="Device:")


def quantization_widget():
    """A dropdown of weight formats, INT4 by default; its `.value` goes to {"weight-format": ...}."""
    import ipywidgets

    return ipywidgets.Dropdown(options=WEIGHT_FORMATS, value="int4", description="Weights:",
                               layout={"width": "max-content"})
