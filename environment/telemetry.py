"""Usage statistics: what our dependencies would send is switched off, and our own is sent only to a named endpoint.

OpenVINO and NNCF report to an analytics service as soon as they are imported, and take a missing consent file for
consent. The one switch of theirs that does not write into a reader's home folder is `CI=true`.
"""

import os
from pathlib import Path

TELEMETRY_OFF = {
    "CI": "true",  # openvino-telemetry, which openvino and nncf report through
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
}
ENDPOINT_VARIABLE = "QWEN2_VL_TELEMETRY_URL"
OPT_OUTS = ("DO_NOT_TRACK", "SCARF_NO_ANALYTICS")
TIMEOUT_S = 2.0  # to connect, and again to answer


def turn_off_library_telemetry() -> None:
    """Sets this process's environment, which child processes inherit. Call it before importing openvino or gradio."""
    os.environ.update(TELEMETRY_OFF)


def collect_telemetry(file: str) -> None:
    """Turns the libraries' telemetry off; then, only if the reader names an endpoint, posts that `file` was opened.

    The endpoint is the environment variable QWEN2_VL_TELEMETRY_URL. It receives {"file": <name without folders>} and
    nothing else. Without the variable, or with DO_NOT_TRACK or SCARF_NO_ANALYTICS set to anything but a plain no,
    nothing is sent. Never raises, and gives up after TIMEOUT_S.
    """
    turn_off_library_telemetry()
    endpoint = os.environ.get(ENDPOINT_VARIABLE)
    if not endpoint or any(says_yes(os.environ.get(name, "")) for name in OPT_OUTS):
        return
    import requests

    try:
        # A redirect could lead to a host that the reader did not name.
        requests.post(endpoint, json={"file": Path(file).name}, timeout=TIMEOUT_S, allow_redirects=False)
    except Exception as error:  # whatever goes wrong here, the tutorial matters more
        print(f"Telemetry was not sent to {endpoint}: {type(error).__name__}. Nothing else changes.")


def says_yes(value: str) -> bool:
    return value.strip().lower() not in ("", "0", "false", "no", "off")
