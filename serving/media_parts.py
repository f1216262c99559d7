"""The parts of a message as clients write them, as those that a session takes.

    part_of({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO…"}})
    # {"type": "image", "image": b"\x89PNG…"}

Here: OpenAI's, vLLM's and Qwen's ways to write a text, a picture, a video. Files are in the request: nothing is fetched
from an address, and no path is opened, because whoever asks is elsewhere. Not here: opening what is in the bytes
(`session.media`).
"""

import base64
import binascii
from urllib.parse import unquote_to_bytes

from adapters.qwen_vl import PIXELS_PER_TOKEN
from serving.errors import RequestError

MAX_MEDIA = 32  # pictures and videos of one request, and frames of one video times eight
MAX_FRAMES = 8 * MAX_MEDIA
LOW_DETAIL_TOKENS = 128  # visual tokens of a picture with "detail": "low"
MAX_PERCENT_CHARACTERS = 1 << 20  # of a data: address without base64: it takes forty times as much while it is decoded
# All of base64 is decoded by what works on bytes as a whole, so that 90 MB of it take no list of pieces.
ESCAPED = {b"%2B": b"+", b"%2F": b"/", b"%3D": b"=", b"%0A": b"", b"%0D": b"", b"%0a": b"", b"%0d": b""}
ALPHABET, SPACES = bytes.maketrans(b"-_", b"+/"), b" \t\r\n\v\f"
TEXTS = ("text", "input_text", "output_text")
PICTURES, VIDEOS = ("image_url", "input_image", "image"), ("video_url", "video")
FILES = ("file", "input_file")
BUDGET = ("min_pixels", "max_pixels")
INSTEAD = "Nothing is fetched here: send the file in the request, as data:image/jpeg;base64,…"


def part_of(part: dict | str, where: str) -> dict:
    """`part`, which stands at `where` in the request. Raises RequestError."""
    if isinstance(part, str):
        part = {"type": "text", "text": part}
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in TEXTS and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return {"type": "text", "text": part["refusal"]}
    if kind in PICTURES:
        return _picture(part, where)
    if kind in VIDEOS:
        return _video(part, where)
    if kind in FILES:
        return _document(part, where)
    raise RequestError(f"{where} is of type {str(kind)[:50]!r}; there are text, image_url, video_url and file.", where)


def _picture(part: dict, where: str) -> dict:
    address, options = _address(part, PICTURES, where)
    found = {"type": "image", "image": decoded(address, where)}
    if options.get("detail") == "low":
        found["max_pixels"] = LOW_DETAIL_TOKENS * PIXELS_PER_TOKEN
    for name in BUDGET:
        if options.get(name) is not None:
            found[name] = _positive(options[name], f"{where}.{name}")
    return found


def _video(part: dict, where: str) -> dict:
    """A file; or frames, as vLLM takes them: data:video/jpeg;base64,FRAME,FRAME,… or a list of pictures."""
    address, options = _address(part, VIDEOS, where)
    fps = {"fps": options["fps"]} if isinstance(options.get("fps"), int | float) and options["fps"] > 0 else {}
    frames: list[bytes] = []
    if isinstance(address, list):
        frames = [decoded(frame, where) for frame in address[: MAX_FRAMES + 1]]
    elif address.strip()[:20].lower().startswith("data:video/jpeg;"):
        head, *encoded = address.split(",", MAX_FRAMES + 2)
        frames = [decoded(f"{head},{frame}", where) for frame in encoded[: MAX_FRAMES + 1]]
    if len(frames) > MAX_FRAMES:
        raise RequestError(f"{where} has more than {MAX_FRAMES} frames.", where)
    return {"type": "video", "video": frames or decoded(address, where), **fps}


def _document(part: dict, where: str) -> dict:
    """A PDF, or a TIFF of several pages; `pages` beside it are the numbers of those that are wanted."""
    value = part["file"] if isinstance(part.get("file"), dict) else part
    if not isinstance(value.get("file_data"), str):
        raise RequestError(f"{where} has no file_data. {INSTEAD.replace('image/jpeg', 'application/pdf')}", where)
    pages = value.get("pages") or part.get("pages")
    if pages is not None and not (isinstance(pages, list) and all(type(page) is int for page in pages)):
        raise RequestError(f"{where}.pages must be a list of page numbers.", where)
    document = {"type": "document", "document": decoded(value["file_data"], where)}
    return document | ({"pages": pages} if pages else {})


def _address(part: dict, names: tuple[str, ...], where: str) -> tuple[str | list, dict]:
    """What the part points to, and the options beside it, wherever the client wrote them."""
    value = next((part[name] for name in (*names, "url", "file") if part.get(name) is not None), None)
    options = {**part, **value} if isinstance(value, dict) else part
    if isinstance(value, dict):
        value = value.get("url")
    if not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(v, str) for v in value)):
        raise RequestError(f"{where} has no url.", where)
    return value, options


def decoded(address: str, where: str) -> bytes:
    """The bytes in a data: address (RFC 2397), however it is spelled: without a type, in capitals, with parameters or
    line breaks, without padding, in the alphabet of URLs. Raises RequestError for any other address.
    """
    head, comma, data = address.strip().partition(",")
    if not head[:5].lower() == "data:" or not comma:
        raise RequestError(f"{where} is not in the request. {INSTEAD}", where)
    if not head.lower().rstrip().endswith(";base64"):
        if len(data) > MAX_PERCENT_CHARACTERS:
            raise RequestError(f"{where} is too long without base64: data:image/jpeg;base64,…", where)
        return unquote_to_bytes(data)
    try:
        letters = data.encode("ascii")
        for escaped, letter in ESCAPED.items():
            letters = letters.replace(escaped, letter)
        letters = letters.translate(ALPHABET, SPACES).rstrip(b"=")
        return base64.b64decode(letters + b"=" * (-len(letters) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(f"{where} is not valid base64.", where) from error


def _positive(value, where: str) -> int:
    if not isinstance(value, int | float) or not 1 <= value <= 1e9:
        raise RequestError(f"{where} is {str(value)[:50]}; it must be a number of pixels.", where)
    return int(value)
