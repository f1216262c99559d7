"""What can be asked the same: each module has a class that `benchmarks.scenario` describes.

They import what they need when they are imported, in a child process of its own: imports are not timed.
"""

from adapters.library_telemetry import turn_off_library_telemetry
from benchmarks.random_model import PICTURE_PIXELS

turn_off_library_telemetry()  # GenAI brings OpenVINO along, which reports that it was imported


def take_pictures_as_they_are(processor) -> None:
    """And the frames of videos: within the hub's limits, as engines do that do not come through `open_model`, whose own
    are narrower: 256 to 1280 visual tokens.
    """
    for part in (processor.image_processor, processor.video_processor):
        part.size = dict(PICTURE_PIXELS)
        part.min_pixels, part.max_pixels = PICTURE_PIXELS.values()  # which a video processor heeds before its size
