"""`collect_telemetry`: a notice that the notebook was opened, sent only to an address that the reader names.

What the libraries would send is switched off in `adapters/library_telemetry.py`.
"""

import os
from pathlib import Path

from adapters.library_telemetry import turn_off_library_telemetry

__all__ = ["collect_telemetry", "turn_off_library_telemetry"]

ENDPOINT_VARIABLE = "QWEN2_VL_TELEMETRY_URL"
OPT_OUTS = ("DO_NOT_TRACK", "SCARF_NO_ANALYTICS")
TIMEOUT_S = 2.0  # to connect, and again to answer


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
    """Whether the value of an opt-out variable is anything but a plain no."""
    return value.strip().lower() not in ("", "0", "false", "no", "off")
