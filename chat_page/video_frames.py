"""The frames of a video that the model is given, as small pictures with their times, for whoever opens it.

Here: finding them once, while the video is encoded. Not here: sampling them (`session.videos`), how they are shown
(`chat_page.render`, `page.js`).
"""

import logging
from collections import OrderedDict

from adapters.gradio_internals import get_upload_folder, save_pil_to_cache
from session.media import MediaError, Sampling, load_video

MAX_VIDEOS = 100  # whose frames are known
THUMBNAIL = (240, 240)

logger = logging.getLogger(__name__)
_known: OrderedDict[str, list[tuple[float, str]]] = OrderedDict()


def frames_of(path: str) -> list[tuple[float, str]]:
    """(seconds, path of a picture) of each frame, as far as `find_frames` found them before; decodes nothing."""
    return _known.get(path, [])


def find_frames(path: str, sampling: Sampling) -> None:
    """Decodes the video, once. What is wrong with it is said when it is asked about."""
    if path in _known:
        return
    try:
        video = load_video(path, sampling)
        frames = []
        for number, frame in enumerate(video.frames):
            frame.thumbnail(THUMBNAIL)
            thumbnail = save_pil_to_cache(frame, get_upload_folder(), name="frame", format="webp")
            frames.append((number / video.fps, thumbnail))
    except MediaError as error:
        logger.info("no frames to show: %s", error)
        return
    _known[path] = frames
    while len(_known) > MAX_VIDEOS:
        _known.popitem(last=False)
