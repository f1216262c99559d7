"""Damaged files of every kind: each gives pixels or a MediaError, in seconds, in bounded memory, and never a crash.

For longer, by hand: `FUZZ_EXAMPLES=4000 python -m pytest tests/slow/test_fuzz_openers.py`; guided by what the code does
with each file: `python -m tests.stress.fuzz_openers`.
"""

import contextlib
import io
import os
import resource
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from chat_page.conversation_file import load, save
from session.documents import load_page
from session.media import MediaError, inspect, kind_of, load_image, load_video
from session.prompt import SessionError
from tests.test_documents import written
from tests.test_media import brightening, write_video

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))  # of each kind
MAX_S = 5.0
MAX_GROWN_KB = 1 << 20
PICTURES = {"png": {}, "jpeg": {}, "webp": {}, "gif": {}, "bmp": {}, "tiff": {}, "heif": {}, "avif": {}}


def picture(form: str, frames: int = 1) -> bytes:
    pictures = [Image.effect_noise((97, 61), 60 + 20 * number).convert("RGB") for number in range(frames)]
    more = {"save_all": True, "append_images": pictures[1:]} if frames > 1 else {}
    pictures[0].save(file := io.BytesIO(), form, **more)
    return file.getvalue()


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, bytes]:
    return small_files(tmp_path_factory.mktemp("originals"))


def small_files(folder) -> dict[str, bytes]:
    """One whole file of each kind that is opened. folder: for those that have to be written to a disk."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    found = {form: picture(form) for form in PICTURES}
    found |= {"moving gif": picture("gif", 5), "moving webp": picture("webp", 5), "pages.tiff": picture("tiff", 3)}
    found["pdf"] = written("PDF")
    for name, codec in (("a.mp4", "mpeg4"), ("a.mkv", "mpeg4"), ("a.webm", "libvpx-vp9"), ("a.mpg", "mpeg2video")):
        found[name] = write_video(folder / name, brightening(12), rate=25, codec=codec).read_bytes()
    return found


def damaged(content: bytes, data) -> bytes:
    """Bytes changed, zeroed, left out, put in twice, or cut off at the end."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, max(0, len(changed) - 1)))
        size = data.draw(st.sampled_from([1, 2, 4, 64, 500]))
        match data.draw(st.sampled_from(["change", "zero", "leave out", "repeat", "cut"])):
            case "change":
                changed[at : at + 1] = bytes([data.draw(st.sampled_from([0, 1, 127, 128, 255]))])
            case "zero":
                changed[at : at + size] = bytes(len(changed[at : at + size]))
            case "leave out":
                del changed[at : at + size]
            case "repeat":
                changed[at:at] = changed[at : at + size]
            case "cut":
                del changed[max(at, 16) :]
    return bytes(changed)


@pytest.fixture
def bounded():
    """Memory of this process does not grow beyond what one file may take."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MAX_GROWN_KB


NAMES = [*PICTURES, "moving gif", "moving webp", "pages.tiff", "pdf", "a.mp4", "a.mkv", "a.webm", "a.mpg"]
SETTINGS = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@SETTINGS
def test_a_damaged_file_gives_pixels_or_a_media_error(originals, bounded, name, data):
    content = damaged(originals[name], data)
    began = time.monotonic()
    kind_of(content)
    for opener in (inspect, load_image, load_video, lambda source: load_page(source, 1)):
        with contextlib.suppress(MediaError):
            opener(content)
    assert time.monotonic() - began < MAX_S


@given(data=st.data())
@SETTINGS
def test_a_damaged_conversation_is_one_or_refused(tmp_path_factory, bounded, data):
    folder = tmp_path_factory.getbasetemp()
    question = {"role": "user", "content": [{"type": "text", "text": "Hello"}]}
    content = damaged(save([question, {"role": "assistant", "content": "Hi."}]).read_bytes(), data)
    (folder / "damaged.zip").write_bytes(content)
    began = time.monotonic()
    with contextlib.suppress(MediaError, SessionError):
        load(folder / "damaged.zip")
    assert time.monotonic() - began < MAX_S
