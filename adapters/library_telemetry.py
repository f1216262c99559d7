"""Usage statistics of the libraries: switched off before the first of them that reports is imported.

OpenVINO and NNCF report to an analytics service as soon as they are imported, and take a missing consent file for
consent. The one switch of theirs that does not write into a reader's home folder is `CI=true`.
Noticed by tests/test_telemetry.py, which imports each of our doors behind a guard on sockets.
"""

import os

TELEMETRY_OFF = {
    "CI": "true",  # openvino-telemetry, which openvino and nncf report through
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
}


def turn_off_library_telemetry() -> None:
    """Sets this process's environment, which child processes inherit. Call it before importing openvino or gradio."""
    os.environ.update(TELEMETRY_OFF)
