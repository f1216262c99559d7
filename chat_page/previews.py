"""What the model is given of a video or a document, as pictures for whoever opens it: frames, and pages.

Here: making them once, while the file is encoded. Not here: which frames and pages (`session.video_sampling`,
`session.documents`), how they are shown (`chat_page.render`, `page.js`).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator

from PIL import Image

from adapters.gradio_internals import get_upload_folder, save_pil_to_cache
from chat_page.messages import options_of
from session.answer import Interrupted
from session.documents import count_pages, load_page, parts_of
from session.media import load_video
from session.vision_inputs import sampling_of

MAX_KNOWN = 100  # files
FRAME, PAGE = (240, 240), (1600, 1600)  # pixels at most; the small print of a page can be read

_known: OrderedDict[tuple, list[tuple[str, str]]] = OrderedDict()


def previews_of(part: dict) -> list[tuple[str, str]]:
    """("2.0 s" or "Page 3 of 11", path of a picture) of each frame or page that is seen, as far as `make_previews` was
    there before; opens nothing.
    """
    return _known.get(_key(part), [])


def make_previews(processor, part: dict, wanted: Callable[[], bool]) -> None:
    """Opens the file of `part` once more. Raises MediaError; Interrupted once it is not `wanted` any more."""
    makers = {"video": _frames, "document": _pages}
    if part["type"] not in makers or _key(part) in _known:
        return
    _known[_key(part)] = list(makers[part["type"]](processor, part, wanted))
    while len(_known) > MAX_KNOWN:
        _known.popitem(last=False)


def _key(part: dict) -> tuple:
    return part[part["type"]], str(options_of(part))


def _frames(processor, part: dict, wanted: Callable[[], bool]) -> Iterator[tuple[str, str]]:
    video = load_video(part["video"], sampling_of(processor, part), wanted)
    for number, frame in enumerate(video.frames):
        yield f"{number / video.fps:.1f} s", _saved(frame, FRAME, "frame")


def _pages(_, part: dict, wanted: Callable[[], bool]) -> Iterator[tuple[str, str]]:
    count = count_pages(part["document"])
    for page in parts_of(part):
        if page["type"] == "image":
            if not wanted():
                raise Interrupted
            yield f"Page {page['page']} of {count}", _saved(load_page(page["image"], page["page"]), PAGE, "page")


def _saved(picture: Image.Image, size: tuple[int, int], name: str) -> str:
    picture.thumbnail(size)
    return save_pil_to_cache(picture, get_upload_folder(), name=name, format="webp")
