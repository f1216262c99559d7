"""The devices that OpenVINO finds on this machine: a dropdown of them, and a check of one that was typed.

Whether a device computes what it should is in `environment/device_check.py`.
"""

AUTOMATIC = "AUTO"
COMBINING = (AUTOMATIC, "MULTI", "HETERO")  # take a list of devices after a colon, as in "AUTO:GPU,CPU"


class DeviceError(ValueError):
    """A device that OpenVINO does not find here; the message lists those that it does."""


def available_devices() -> list[str]:
    """The names OpenVINO gives to what it can run on here, such as ["CPU", "GPU.0", "GPU.1"]."""
    from adapters.openvino_runtime import ov

    return ov.Core().available_devices


def require_device(name: str) -> str:
    """Returns `name` in OpenVINO's spelling, or raises DeviceError if there is no such device: "gpu" -> "GPU"."""
    spelled = name.strip().upper()
    family, _, members = spelled.partition(":")
    wanted = [spelled]
    if family in COMBINING:
        wanted = [member.strip() for member in members.split(",") if member.strip()]
    found = available_devices()
    for device in wanted:
        if not any(device in (known, f"{known}.0", known.partition(".")[0]) for known in found):
            raise DeviceError(
                f"There is no device {device!r} on this machine. Choose one of: {', '.join([*found, AUTOMATIC])}."
            )
    return spelled


def device_widget(default: str = AUTOMATIC, exclude: list[str] | None = None):
    """A dropdown of the devices found here and AUTO; its `.value` goes to `from_pretrained(..., device=...)`.

    exclude: devices to leave out; "GPU" stands for every GPU. Where `default` is not on offer, the first one is chosen.
    Raises DeviceError if nothing is left to choose.
    """
    import ipywidgets

    left_out = set(exclude or ())
    offered = [
        name
        for name in [*available_devices(), AUTOMATIC]
        if name not in left_out and name.partition(".")[0] not in left_out
    ]
    if not offered:
        raise DeviceError(f"exclude={exclude} leaves no device to choose; found: {', '.join(available_devices())}.")
    return ipywidgets.Dropdown(
        options=offered, value=default if default in offered else offered[0], description="Device:"
    )
