"""Pictures in: from a file that a stranger chose to RGB pixels of a bounded size.

Here: formats, limits, what is damaged and can be shown all the same, orientation, depth, animations. Not here: resizing
to the model's patches (its processor does that), videos (`session.videos`), the forms of a source (`session.sources`).
"""

import contextlib
import io
import threading
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageFile, ImageOps

from session.answer import Interrupted
from session.sources import MediaError, opened

MAX_PIXELS = 64_000_000  # of a picture in memory: 192 MB as RGB
MAX_STATED_PIXELS = 400_000_000  # of a JPEG, which can be decoded at an eighth of its size: phones make 200
NEEDED_PIXELS = 16_000_000  # larger JPEGs are decoded at a half, a quarter or an eighth: no model takes as many
MAX_ASPECT = 200  # longer side to shorter side; Qwen2-VL's own processor refuses more
MAX_ANIMATION_FRAMES = 2000  # each of which is decoded
MAX_ANIMATION_PIXELS = 8_000_000_000  # of all of them: what is behind is not looked at
USUAL_FRAME_MS = 100
MAX_BARE_PNG_BYTES = 256 << 20  # of a PNG that is read whole, to leave chunks out; what is behind is missing
CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"sRGB", b"acTL", b"fcTL", b"fdAT")  # of a PNG's pixels
# Formats that Pillow decodes by itself, and HEIF by its plugin. EPS would start another program.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
HEIC_HELP = (
    "This is a HEIC picture, as iPhones make them, and the package that opens it (pillow-heif) is not installed. "
    "Share the picture as a JPEG: on the phone, Settings, Camera, Formats, Most Compatible."
)
BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"hevc", b"heim", b"heis", b"avif", b"avis")  # of HEIF, and of AVIF
ORIENTATION, TURNED = 274, (5, 6, 7, 8)  # the EXIF tag, and its values that mean a quarter of a turn
CUT_OFF = "a picture's file ends too early, its last part is missing"

_global = threading.Lock()  # Pillow's limits are variables of its modules


def load_image(source, notes: list[str] | None = None) -> Image.Image:
    """`source` as RGB, the right way up, transparency on white. Raises MediaError.

    source: a path, a file's bytes, an open file, a file:// or data: address, a PIL picture, or a NumPy array
    (height, width) or (height, width, 3 or 4) of 0…255. notes: gets a sentence for each thing that the reader should
    know, such as that the file lacks its end. The size is checked before any pixel is decoded.
    """
    if isinstance(source, Image.Image):
        return to_rgb(source)
    if isinstance(source, np.ndarray):
        return to_rgb(_of_array(source))
    with _plain_errors(source), opened_image(source) as image:
        return to_rgb(_loaded(image, notes))


def image_size(source) -> tuple[int, int]:
    """(width, height) of what `load_image` returns, by the header: no pixel is decoded. Raises MediaError."""
    if isinstance(source, Image.Image):
        return source.size
    if isinstance(source, np.ndarray):
        return _of_array(source).size
    with _plain_errors(source), opened_image(source) as image:
        _limit_size(image)
        width, height = image.size
        turned = False
        with contextlib.suppress(Exception):  # a broken block of EXIF says nothing about the pixels
            turned = image.getexif().get(ORIENTATION, 1) in TURNED and image.format != "TIFF"  # whose size is turned
        return (height, width) if turned else (width, height)


@contextlib.contextmanager
def opened_animation(source) -> Iterator[Image.Image | None]:
    """An animated GIF, WebP, PNG or AVIF, with its header read; None for what is none. What is raised inside becomes a
    MediaError.
    """
    with contextlib.ExitStack() as closing:
        image = None
        with contextlib.suppress(Exception):
            image = closing.enter_context(opened_image(source))
            image = image if _frame_count(image) > 1 else None
        try:
            yield image
        except (MediaError, Interrupted):
            raise
        except Exception as error:
            raise MediaError("This animation is damaged. Please save it again, or try another.") from error


def stated_of_animation(image: Image.Image) -> tuple[int, float]:
    """(frames, about how many seconds) of an animation, by its header and its first frame."""
    count = _frame_count(image)
    if "duration" not in image.info:
        image.load()  # WebP and AVIF say with a frame's pixels how long it lasts
    return count, count * _seconds_of_frame(image)


def frames_of_animation(
    image: Image.Image, part: tuple[float, float], limit: int, pixels: int, wanted: Callable[[], bool]
) -> list[tuple[float, Image.Image]]:
    """(seconds, picture of at most `pixels`) of up to `limit` frames of an animation, evenly over its time, and no more
    than that between the two times of `part`. Raises MediaError, and Interrupted once they are not `wanted`.
    """
    starts, at = [], 0.0
    for number in range(_frame_count(image)):
        if not wanted():
            raise Interrupted
        image.seek(number)
        starts.append(at)
        at += _seconds_of_frame(image)
    begin, end = min(part[0], starts[-1]), min(part[1], at)
    moments = np.linspace(begin, max(begin, end), limit, endpoint=False)
    found = []
    for number in sorted({int(number) - 1 for number in np.searchsorted(starts, moments, "right")}):
        if not wanted():
            raise Interrupted
        image.seek(number)
        found.append((starts[number], to_rgb(image.copy()).resize(within(*image.size, pixels))))
    return found


def is_animation(source) -> bool:
    """Whether a file is a picture that moves, by what is in it. Never raises."""
    with opened_animation(source) as image:
        return image is not None


def is_image(source) -> bool:
    """Whether a file is a picture, by what is in it; HEIC and AVIF also where they are damaged, which FFmpeg would take
    for a video. Never raises, and decodes nothing.
    """
    with contextlib.suppress(Exception), opened_image(source):
        return True
    with contextlib.suppress(Exception):
        return _brand(source) in BRANDS
    return False


def within(width: float, height: float, pixels: int) -> tuple[int, int]:
    """A size of the same shape with at most so many pixels."""
    scale = min(1.0, (pixels / (width * height)) ** 0.5)
    return max(1, round(width * scale)), max(1, round(height * scale))


def to_rgb(image: Image.Image) -> Image.Image:
    check_size(*image.size)
    with contextlib.suppress(Exception):  # a broken block of EXIF says nothing about the pixels
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def opened_image(source) -> Image.Image:
    """Opened: the header is read, no pixel decoded. A PNG whose texts or profile are too much opens without them."""
    file = opened(source, "picture")
    formats = (*FORMATS, "HEIF") if _has_heif() else FORMATS
    with _global, _without_limits():
        try:
            return Image.open(file, formats=formats)
        except (ValueError, SyntaxError):
            data = file.getvalue() if isinstance(file, io.BytesIO) else _read(file, MAX_BARE_PNG_BYTES)
            if not data.startswith(b"\x89PNG"):
                raise
            return Image.open(io.BytesIO(_bare_png(data)), formats=formats)


@contextlib.contextmanager
def _without_limits() -> Iterator[None]:
    """Pillow refuses by the stated size; a JPEG may state more than we decode of it, and all sizes are checked here."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


@contextlib.contextmanager
def _plain_errors(source) -> Iterator[None]:
    """Whatever is raised inside becomes a MediaError."""
    try:
        yield
    except MediaError:
        raise
    except Image.UnidentifiedImageError as error:
        raise MediaError(_why_unknown(source)) from error
    except Exception as error:  # on damaged files, Pillow's decoders raise a dozen unrelated types
        raise MediaError("This picture is damaged or incomplete. Please save it again, or try another.") from error


def _frame_count(image: Image.Image) -> int:
    """How many frames of an animation are read; 1 for what is none. Raises MediaError where one is too large."""
    if image.format in ("MPO", "TIFF") or (frames := getattr(image, "n_frames", 1)) < 2:
        return 1
    check_size(*image.size)
    return min(frames, MAX_ANIMATION_FRAMES, max(2, MAX_ANIMATION_PIXELS // (image.width * image.height)))


def _seconds_of_frame(image: Image.Image) -> float:
    return max(0.01, image.info.get("duration", USUAL_FRAME_MS) / 1000)


def _limit_size(image: Image.Image) -> None:
    """Before pixels: a large JPEG is decoded at a half, a quarter or an eighth; what stays too large is refused."""
    if image.format in ("JPEG", "MPO") and image.width * image.height > NEEDED_PIXELS:
        check_size(*image.size, MAX_STATED_PIXELS)
        image.draft("RGB", within(*image.size, NEEDED_PIXELS))
    check_size(*image.size)


def _loaded(image: Image.Image, notes: list[str] | None) -> Image.Image:
    """With its pixels, also where the file lacks its end."""
    _limit_size(image)
    try:
        image.load()
    except OSError as error:
        if "truncated" not in str(error):
            raise
        with _global:
            ImageFile.LOAD_TRUNCATED_IMAGES = True
            try:
                image.load()
            finally:
                ImageFile.LOAD_TRUNCATED_IMAGES = False
        if len(set(image.convert("L").resize((16, 16)).getdata())) < 2:
            raise  # nothing was decoded
        if notes is not None:
            notes.append(CUT_OFF)
    return image


def _has_heif() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _why_unknown(source) -> str:
    brand = _brand(source)
    if brand in BRANDS:
        is_heic = not brand.startswith(b"avi")
        if is_heic and not _has_heif():
            return HEIC_HELP
        return f"This {'HEIC' if is_heic else 'AVIF'} picture is damaged. Please share it as a JPEG."
    return "This file is not a picture that can be opened. Try a JPEG or a PNG."


def _brand(source) -> bytes:
    """What a file of ISO's base media format (ISO/IEC 14496-12) calls itself; empty for any other file."""
    file = opened(source, "picture")
    head = file.getvalue()[:32] if isinstance(file, io.BytesIO) else _read(file, 32)
    return head[8:12] if head[4:8] == b"ftyp" else b""


def _read(path: str, size: int = -1) -> bytes:
    with open(path, "rb") as file:
        return file.read(size)


def _bare_png(data: bytes) -> bytes:
    """A PNG with the chunks that its pixels need, and no others: texts, colour profiles and EXIF are left out."""
    kept, at = [data[:8]], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] in CHUNKS:
            kept.append(data[at : at + 12 + size])
        at += 12 + size
    return b"".join(kept)


def _of_array(array: np.ndarray) -> Image.Image:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or not array.size:
        raise MediaError(f"An array of shape {array.shape} is no picture: (height, width), or (height, width, 3 or 4).")
    if array.dtype != np.uint8:
        raise MediaError(f"An array of {array.dtype} is no picture; it must be uint8, 0 to 255.")
    return Image.fromarray(array)


def check_size(width: int, height: int, limit: int = MAX_PIXELS) -> None:
    if width * height > limit:
        most = f"at most {limit // 1_000_000} million pixels can be read"
        raise MediaError(f"This picture is too large: {most}. It has {width} × {height}.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise MediaError(f"This picture is too narrow: {width} × {height}. Please crop it.")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale deep greys (10 to 16 bits, 32 bits, floats) to 0…255. What states 16 bits may hold 10, 12 or 14, which
    would be black: the least depth that holds the data counts. Pillow's own conversion would clip them to white.
    """
    grey = np.asarray(image, dtype=np.float32)
    brightest = max(float(grey.max()), 1.0)
    depths = [2**bits - 1 for bits in (10, 12, 14, 16)] if image.mode.startswith("I") else []
    white = next((depth for depth in depths if brightest <= depth), brightest)
    return Image.fromarray((grey.clip(0, white) * (255 / white)).astype(np.uint8))
