"""Documents in: a PDF, or a TIFF of several pages, as one picture for each page.

    parts_of({"type": "document", "document": "letter.pdf"})
    # [{"type": "text", "text": "Page 1 of 2:"}, {"type": "image", "image": "letter.pdf", "page": 1}, …]

Here: counting pages, choosing them, drawing one. Not here: pictures of one page (`session.images`), the forms of a
source (`session.sources`). PDFium is not safe to use from several threads (https://pypdfium2.readthedocs.io), so all of
its work is done under one lock. Of a PDF, only what is drawn is read, and what was filled into its forms: its scripts
and links do nothing here (pypdfium2's PDFium has no JavaScript).
"""

import contextlib
import io
import math
import threading
from collections.abc import Iterator

import pypdfium2
from PIL import Image

from session.images import check_size, opened_image, to_rgb
from session.sources import MediaError, opened

MAX_PAGES = 8  # of one document in one message; more have to be chosen
DPI = 150  # small print of 6 points is then 12 pixels high
MAX_PAGE_PIXELS = 4_000_000  # of a page drawn: A4 has 2.2 million, a poster is drawn smaller
POINTS_PER_INCH = 72

_pdfium = threading.Lock()


def page_count(source) -> int:
    """How many pages a document has, by what is in the file; 0 for what is no document. Never raises."""
    with contextlib.suppress(Exception), _pdf(source) as pdf:
        return len(pdf)
    with contextlib.suppress(Exception), opened_image(source) as image:
        frames = getattr(image, "n_frames", 1)
        return frames if image.format == "TIFF" and frames > 1 else 0
    return 0


def is_document(source) -> bool:
    """Whether a file is a document, also where it cannot be opened: a PDF with a password is one."""
    return _is_pdf(source) or page_count(source) > 0


def parts_of(part: dict) -> list[dict]:
    """The message parts that a document part stands for: each page's number as text, and the page as a picture.

    part["pages"]: the numbers of those that are wanted, from 1 on; by default the first MAX_PAGES. What is left out is
    said in the "notes" of the first picture. Raises MediaError.
    """
    source = part["document"]
    count = count_pages(source)
    pages = part.get("pages") or range(1, min(count, MAX_PAGES) + 1)
    for page in pages:
        if not isinstance(page, int) or not 1 <= page <= count:
            raise MediaError(f"This document has no page {str(page)[:20]}; its pages are 1 to {count}.")
    if len(pages) > MAX_PAGES:
        raise MediaError(f"At most {MAX_PAGES} pages of a document can be seen at once; these are {len(pages)}.")
    parts: list[dict] = []
    for page in pages:
        parts += [{"type": "text", "text": f"Page {page} of {count}:"}] if count > 1 else []
        parts.append({"type": "image", "image": source, "page": page})
    if not part.get("pages") and count > MAX_PAGES:
        parts[1]["notes"] = (f"of a document's {count} pages the first {MAX_PAGES} are seen",)
    return parts


def count_pages(source) -> int:
    """As `page_count`, but raises MediaError that says why where there are none."""
    return page_count(source) or _raise_why_not(source)


def load_page(source, page: int) -> Image.Image:
    """Page `page`, from 1 on, as RGB on white: of a PDF drawn at DPI, within MAX_PAGE_PIXELS. Raises MediaError."""
    try:
        if not _is_pdf(source):
            with opened_image(source) as image:
                image.seek(page - 1)
                check_size(*image.size)  # before pixels
                return to_rgb(image.copy())
        with _pdf(source) as pdf:
            with contextlib.suppress(pypdfium2.PdfiumError):  # a form that is broken is drawn empty
                pdf.init_forms()
            _, scale = _size_and_scale(pdf[page - 1])
            return to_rgb(pdf[page - 1].render(scale=scale).to_pil())
    except MediaError:
        raise
    except Exception as error:  # PDFium's and Pillow's decoders raise unrelated types on damaged files
        raise MediaError(f"Page {page} of this document is damaged. Please save it again.") from error


def page_size(source, page: int) -> tuple[int, int]:
    """(width, height) of what `load_page` returns; nothing is drawn. Raises MediaError."""
    try:
        size = _page_size(source, page)
        check_size(*size)
        return size
    except MediaError:
        raise
    except Exception as error:
        raise MediaError(f"Page {page} of this document is damaged. Please save it again.") from error


def _page_size(source, page: int) -> tuple[int, int]:
    if not _is_pdf(source):
        with opened_image(source) as image:
            image.seek(page - 1)
            return image.size
    with _pdf(source) as pdf:
        (width, height), scale = _size_and_scale(pdf[page - 1])
        return math.ceil(width * scale), math.ceil(height * scale)


def _size_and_scale(page: pypdfium2.PdfPage) -> tuple[tuple[float, float], float]:
    """((width, height) in points, pixels for each)."""
    width, height = page.get_size()
    return (width, height), min(DPI / POINTS_PER_INCH, (MAX_PAGE_PIXELS / (width * height)) ** 0.5)


@contextlib.contextmanager
def _pdf(source) -> Iterator[pypdfium2.PdfDocument]:
    file = opened(source, "document")
    with _pdfium:
        pdf = pypdfium2.PdfDocument(file.getvalue() if isinstance(file, io.BytesIO) else file)
        try:
            yield pdf
        finally:
            pdf.close()


def _is_pdf(source) -> bool:
    """By its first bytes; some programs write a few of their own before them."""
    try:
        file = opened(source, "document")
    except MediaError:
        return False
    if isinstance(file, io.BytesIO):
        return b"%PDF-" in file.getvalue()[:1024]
    with open(file, "rb") as start:
        return b"%PDF-" in start.read(1024)


def _raise_why_not(source) -> int:
    opened(source, "document")  # which says where there is none
    try:
        with _pdf(source):
            raise MediaError("This document has no pages.")
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise MediaError("This PDF has a password. Please save it without one, and add it again.") from error
        raise MediaError("This document is damaged, or neither a PDF nor a TIFF. Please save it again.") from error
