"""What can be asked the same: each module has a class that `benchmarks.scenario` describes.

They import what they need when they are imported, in a child process of its own: imports are not timed.
"""

from adapters.library_telemetry import turn_off_library_telemetry

turn_off_library_telemetry()  # GenAI brings OpenVINO along, which reports that it was imported
