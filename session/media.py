"""Pictures, videos and documents in: what all others import of how files are opened.

    inspect("IMG_0001")           # MediaInfo: kind, size, length
    kind_of("IMG_0001")           # "image", "video" or "document", by what is in the file, or ""
    load_image("cat.heic")        # RGB, upright
    load_video("cat.mov").frames  # a few of them, evenly spaced in time

Here: nothing but the names, and which of them a file is. Pictures are `session.images`, videos `session.videos`,
documents `session.documents`, the forms of a source `session.sources`. Whatever is wrong with a file ends in a
`MediaError`, whose message is a plain sentence that can be shown to a visitor and never contains a path; the exception
it was raised from has the details.
"""

from dataclasses import dataclass

from session.documents import count_pages, is_document, page_size
from session.images import image_size, is_animation, is_image, load_image
from session.sources import MediaError
from session.video_sampling import USUAL_FPS, Sampling, Video
from session.videos import as_video, is_video, load_video, outline_of

__all__ = [
    "USUAL_FPS", "MediaError", "MediaInfo", "Sampling", "Video", "as_video", "inspect",
    "is_animation", "kind_of", "load_image", "load_video",
]  # fmt: skip


@dataclass(frozen=True)
class MediaInfo:
    """What a file states of itself. kind: "image", "video" or "document". width, height: pixels, of a picture, of a
    frame as it is kept, or of the first page as it is drawn. frames, seconds: of a video. pages: of a document.
    """

    kind: str
    width: int
    height: int
    frames: int = 1
    seconds: float = 0.0
    pages: int = 1


def inspect(source) -> MediaInfo:
    """By the headers of a file, and by what is in it, not by its name; no pixel is decoded. Raises MediaError.

        inspect("IMG_0001.heic")  # MediaInfo(kind='image', width=3024, height=4032, …)

    What a header states may be wrong: that a file opens says only `load_image`, `load_video` or `load_page`.
    """
    kind = kind_of(source)
    if kind == "document":
        return MediaInfo(kind, *page_size(source, 1), pages=count_pages(source))
    if kind == "video":
        outline = outline_of(source)
        return MediaInfo(kind, outline.width, outline.height, outline.frames, outline.seconds)
    return MediaInfo("image", *image_size(source))  # which says what is wrong with what is neither


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
