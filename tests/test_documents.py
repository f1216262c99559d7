"""session.documents: pages of PDFs and TIFFs are pictures, in order, numbered, and never more than fit."""

import io
import threading

import numpy as np
import pytest
from PIL import Image

from session.documents import DPI, MAX_PAGE_PIXELS, MAX_PAGES, load_page, page_count, parts_of
from session.media import MediaError, kind_of
from session.prompt import SessionError, build_prompt, check_messages
from session.vision_inputs import MediaProcessor
from tests.fake_model import FakeSession, echoing, fake_processor

COLOURS = ("red", "green", "blue", "yellow")
PROCESSOR = fake_processor()


def written(form: str, pages: int = 3, size=(248, 350), **options) -> bytes:
    """Pages of one colour each."""
    images = [Image.new("RGB", size, COLOURS[number % len(COLOURS)]) for number in range(pages)]
    file = io.BytesIO()
    images[0].save(file, form, save_all=True, append_images=images[1:], **options)
    return file.getvalue()


def colour(image: Image.Image) -> str:
    """The nearest of COLOURS at the middle of `image`."""
    found = image.getpixel((image.width // 2, image.height // 2))
    known = {name: Image.new("RGB", (1, 1), name).getpixel((0, 0)) for name in COLOURS}
    return min(known, key=lambda name: sum(abs(a - b) for a, b in zip(found, known[name], strict=True)))


def texts_and_pages(part: dict) -> list:
    return [found["text"] if found["type"] == "text" else found["page"] for found in parts_of(part)]


@pytest.mark.parametrize("form", ["PDF", "TIFF"])
def test_each_page_is_a_picture_and_says_which(form, tmp_path):
    path = tmp_path / "scan_without_an_ending"
    path.write_bytes(written(form))
    for source in (path, str(path), path.read_bytes()):
        assert (kind_of(source), page_count(source)) == ("document", 3)
        assert [colour(load_page(source, page)) for page in (1, 2, 3)] == ["red", "green", "blue"]
    part = {"type": "document", "document": str(path)}
    assert texts_and_pages(part) == ["Page 1 of 3:", 1, "Page 2 of 3:", 2, "Page 3 of 3:", 3]
    assert texts_and_pages({**part, "pages": [3, 1]}) == ["Page 3 of 3:", 3, "Page 1 of 3:", 1]


def test_one_page_needs_no_number():
    assert texts_and_pages({"type": "document", "document": written("PDF", pages=1)}) == [1]


def test_a_tiff_of_one_page_and_a_photograph_are_pictures():
    assert kind_of(written("TIFF", pages=1)) == kind_of(written("PNG", pages=1)) == "image"
    assert kind_of(written("GIF")) == "video"


def test_pages_that_are_too_many_are_left_out_and_that_is_said():
    part = {"type": "document", "document": written("PDF", pages=MAX_PAGES + 3, size=(24, 35))}
    parts = parts_of(part)
    assert [found["page"] for found in parts if found["type"] == "image"] == [*range(1, MAX_PAGES + 1)]
    prompt = build_prompt(PROCESSOR, [{"role": "user", "content": [part]}])
    assert [note for item in prompt.media for note in item.notes] == ["of a document's 11 pages the first 8 are seen"]
    assert texts_and_pages({**part, "pages": [11]}) == ["Page 11 of 11:", 11]


def test_many_documents_in_one_message_are_refused_before_a_page_is_drawn(monkeypatch):
    monkeypatch.setattr("session.vision_inputs.load_page", lambda *_: pytest.fail("a page was drawn"))
    part = {"type": "document", "document": written("PDF", pages=6, size=(24, 35))}
    with pytest.raises(MediaError, match="can have 16 pages of documents; this one has 18"):
        build_prompt(PROCESSOR, [{"role": "user", "content": [part] * 3}])


@pytest.mark.parametrize("pages, said", [([4], "has no page 4; its pages are 1 to 3"), ([0], "no page 0"),
                                         (["1"], "no page 1"), ([1] * (MAX_PAGES + 1), "At most 8 pages")])  # fmt: skip
def test_pages_that_are_not_there_are_refused(pages, said):
    with pytest.raises(MediaError, match=said):
        parts_of({"type": "document", "document": written("PDF"), "pages": pages})


def pdf_of(objects: list[bytes], trailer: bytes = b"") -> bytes:
    """A PDF of these objects, the first of which is the catalog (PDF 32000-1:2008, 7.5)."""
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj%sendobj\n" % (number, content)
    count = len(objects) + 1
    table = b"xref\n0 %d\n0000000000 65535 f \n" % count + b"".join(b"%010d 00000 n \n" % place for place in places)
    return body + table + b"trailer<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF" % (count, trailer, len(body))


def locked() -> bytes:
    """A PDF whose password is not the empty one (PDF 32000-1:2008, 7.6)."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
               b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>",
               b"<</Filter/Standard/V 1/R 2/O<" + b"11" * 32 + b">/U<" + b"22" * 32 + b">/P -4>>"]  # fmt: skip
    return pdf_of(objects, b"/Encrypt 4 0 R/ID[<00><00>]")


def filled_form(appearance: bytes) -> bytes:
    """A page with nothing on it but a text field, in which "MMMM" is written."""
    field = b"<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/V(MMMM)/F 4/Rect[10 10 290 90]/DA(/Helv 40 Tf 0 g)%s/P 3 0 R>>"
    text = b"BT /Helv 40 Tf 20 20 Td (MMMM) Tj ET"
    drawn = b"<</Subtype/Form/BBox[0 0 280 80]/Resources<</Font<</Helv 5 0 R>>>>/Length %d>>stream\n%s\nendstream"
    return pdf_of([
        b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[4 0 R]/NeedAppearances true/DR<</Font<</Helv 5 0 R>>>>>>>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>", b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 100]/Annots[4 0 R]>>",
        field % appearance, b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        drawn % (len(text), text),
    ])  # fmt: skip


@pytest.mark.parametrize("appearance", [b"", b"/AP<</N 6 0 R>>"], ids=["value", "appearance"])
def test_what_was_filled_into_a_form_is_seen(appearance):
    dark = np.asarray(load_page(filled_form(appearance), 1).convert("L")) < 128
    assert dark.sum() > 1000


@pytest.mark.parametrize("source, said", [
    (locked(), "has a password"), (written("PDF")[:300], "damaged"), (b"%PDF-1.7\n", "damaged"),
    (b"neither", "neither a PDF nor a TIFF"), ("/no/such/letter.pdf", "no such document here"),
])  # fmt: skip
def test_what_cannot_be_opened_is_refused_in_plain_words(source, said):
    with pytest.raises(MediaError, match=said) as error:
        parts_of({"type": "document", "document": source})
    assert "/no/such" not in str(error.value)
    assert page_count(source) == 0


def test_small_print_is_readable_and_a_poster_takes_no_more_memory():
    letter = load_page(written("PDF", pages=1, size=(1240, 1754), resolution=DPI), 1)
    assert letter.size == pytest.approx((1240, 1754), abs=2)
    poster = load_page(written("PDF", pages=1, size=(40, 60), resolution=0.4), 1)  # 2.5 by 3.8 metres
    assert poster.width * poster.height <= MAX_PAGE_PIXELS * 1.01


def test_pages_are_drawn_once_and_never_taken_for_each_other(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(written("PDF"))
    kept = MediaProcessor(PROCESSOR, 1 << 24)
    first, second = ({"type": "image", "image": str(path), "page": page} for page in (1, 2))
    assert kept.process(first) is kept.process(first)
    assert kept.process(first).blocks[0].digest != kept.process(second).blocks[0].digest


def test_a_session_sees_the_pages_with_their_numbers_between():
    session = FakeSession(echoing(PROCESSOR), PROCESSOR)
    content = [{"type": "document", "document": written("PDF", pages=2)}, {"type": "text", "text": "Which is red?"}]
    answer = session.stream([{"role": "user", "content": content}])
    list(answer)
    (inputs,) = session._model.calls
    shown = PROCESSOR.tokenizer.decode(inputs["input_ids"][0])
    assert shown.index("Page 1 of 2:") < shown.index("<|image_pad|>") < shown.index("Page 2 of 2:")
    assert len(inputs["image_grid_thw"]) == 2


def test_a_document_part_without_its_document_is_refused():
    with pytest.raises(SessionError, match="there are text, image, video and document"):
        check_messages([{"role": "user", "content": [{"type": "document"}]}])


def test_many_threads_draw_pages_at_once():
    source, found = written("PDF"), []
    threads = [threading.Thread(target=lambda page=page: found.append((page, colour(load_page(source, page)))))
               for page in (1, 2, 3) * 8]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {(1, "red"), (2, "green"), (3, "blue")}
    assert len(found) == 24


def test_a_page_that_states_too_much_is_refused_before_it_is_decoded():
    Image.new("1", (1, 1)).save(file := io.BytesIO(), "BMP")
    content = bytearray(file.getvalue())
    content[18:26] = (12_000_000).to_bytes(4, "little") + (61).to_bytes(4, "little")
    with pytest.raises(MediaError, match="too large"):
        load_page(bytes(content), 1)
