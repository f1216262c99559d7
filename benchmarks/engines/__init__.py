"""What can be asked the same: each module has a class that `benchmarks.scenario` describes.

They import what they need when they are imported, in a child process of its own: imports are not timed.
"""

import importlib

from adapters.library_telemetry import turn_off_library_telemetry

turn_off_library_telemetry()  # GenAI brings OpenVINO along, which reports that it was imported


def import_optimum_intel() -> None:
    """Now, for seconds, and not when the first model is opened (`adapters.optimum_intel`), which is timed."""
    importlib.import_module("optimum.intel.openvino")
