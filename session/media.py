"""Pictures, videos and documents in: what all others import of how files are opened.

    kind_of("IMG_0001")           # "image", "video" or "document", by what is in the file, or ""
    load_image("cat.heic")        # RGB, upright
    load_video("cat.mov").frames  # a few of them, evenly spaced in time

Here: nothing but the names, and which of them a file is. Pictures are `session.images`, videos `session.videos`,
documents `session.documents`, the forms of a source `session.sources`. Whatever is wrong with a file ends in a
`MediaError`, whose message is a plain sentence that can be shown to a visitor and never contains a path; the exception
it was raised from has the details.
"""

from session.documents import is_document
from session.images import is_animation, is_image, load_image
from session.sources import MediaError
from session.videos import MAX_FRAMES, USUAL_FPS, Sampling, Video, as_video, is_video, load_video

__all__ = [
    "MAX_FRAMES", "USUAL_FPS", "MediaError", "Sampling", "Video", "as_video", "is_animation", "kind_of", "load_image",
    "load_video",
]  # fmt: skip


def kind_of(source) -> str:
    """"image", "video" or "document", by what is in the file and not by its name, and "" for what is none of them; an
    animation is a video, a TIFF of several pages a document. Decodes no pixel.
    """
    if is_document(source):
        return "document"
    if is_animation(source):
        return "video"
    if is_image(source):
        return "image"
    return "video" if is_video(source) else ""
