"""chat_page.conversation_file: a conversation comes back as it was; a stranger's file ends in a plain sentence, and
nothing of it is left.
"""

import json
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from adapters.gradio_internals import get_mimetype
from chat_page import conversation_file
from chat_page.conversation_file import (
    MAX_BYTES,
    MAX_MEDIA,
    MAX_MESSAGES,
    MAX_TEXT_BYTES,
    MISSING,
    NOT_OURS,
    SUFFIXES,
    TEXT,
    TOO_LARGE,
    load,
    save,
)
from chat_page.messages import MAX_FILES
from session.media import MediaError, load_image, load_video
from session.prompt import MAX_CHARACTERS, SessionError
from tests.test_media import brightening, encoded, half_and_half, png_header, write_video

PICTURE = f"media/{'0' * 64}.png"
PNG = encoded(half_and_half(), "PNG")


@pytest.fixture(autouse=True)
def upload_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return tmp_path / "uploads"


def user(*content) -> dict:
    return {"role": "user", "content": [*content]}


def text(words: str) -> dict:
    return {"type": "text", "text": words}


def image(path) -> dict:
    return {"type": "image", "image": str(path)}


def answer(words: str, **more) -> dict:
    return {"role": "assistant", "content": words, **more}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# ---- there and back -------------------------------------------------------------------------------------------------


def test_a_conversation_comes_back_with_its_pictures_and_videos(tmp_path, upload_folder):
    half_and_half().save(tmp_path / "my secret name.JPG")
    half_and_half().save(tmp_path / "boxes.png")
    clip = write_video(tmp_path / "clip.mp4", brightening(6))
    history = [
        user(image(tmp_path / "my secret name.JPG"), {"type": "video", "video": str(clip)}, text("What?\n你好 <b>")),
        answer("A circle.", note="first word 1 s", boxed=str(tmp_path / "boxes.png")),
        user(text("And now?")), answer("", note="Stopped."),
    ]  # fmt: skip
    before = [load_image(tmp_path / "my secret name.JPG").tobytes(), len(load_video(clip).frames)]
    packed = save(history)
    assert b"secret" not in packed.read_bytes() and str(tmp_path).encode() not in packed.read_bytes()
    for path in set(files(tmp_path)) - {packed}:
        path.unlink()
    back = load(packed)
    (picture, video), boxed = back[0]["content"][:2], back[1]["boxed"]
    assert [load_image(picture["image"]).tobytes(), len(load_video(video["video"]).frames)] == before
    assert load_image(boxed).size == half_and_half().size
    assert all(Path(path).is_relative_to(upload_folder) for path in (picture["image"], video["video"], boxed))
    assert back == [user(picture, video, history[0]["content"][2]), {**history[1], "boxed": boxed}, *history[2:]]


def test_a_document_comes_back_too(tmp_path, upload_folder):
    document = tmp_path / "my letter"
    Image.new("RGB", (24, 35), "red").save(document, "PDF")
    asked = {"type": "document", "document": str(document), "pages": [1]}
    packed = save([user(asked, text("What?")), answer("A letter.")])
    content = document.read_bytes()
    document.unlink()
    (part, _) = load(packed)[0]["content"]
    assert part["type"] == "document" and part["pages"] == [1]
    back = Path(part["document"])
    assert (back.read_bytes(), back.suffix, back.is_relative_to(upload_folder)) == (content, ".pdf", True)


SENTENCES = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


@given(st.lists(st.tuples(SENTENCES, SENTENCES, st.none() | SENTENCES), min_size=1, max_size=5))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_as_it_was(turns):
    history = []
    for question, said, note in turns:
        history += [user(text(question)), answer(said) if note is None else answer(said, note=note)]
    assert load(save(history)) == history


def test_the_same_picture_is_in_the_file_once_and_two_that_load_it_do_not_disturb_each_other(tmp_path, upload_folder):
    (tmp_path / "a.png").write_bytes(PNG)
    packed = save([user(image(tmp_path / "a.png"), image(tmp_path / "a.png"), text("Same?")), answer("Yes.")])
    assert len(zipfile.ZipFile(packed).namelist()) == 2
    assert load(packed) == load(packed)
    assert len(files(upload_folder)) == 2


def test_a_file_without_a_known_ending_gets_one_that_the_page_serves_as_a_picture(tmp_path):
    (tmp_path / "page.html").write_bytes(PNG)
    (block,) = load(save([user(image(tmp_path / "page.html"))]))[0]["content"]
    assert Path(block["image"]).suffix == ".png"


@pytest.mark.parametrize("kind", SUFFIXES)
def test_an_ending_says_of_which_kind_a_file_is(kind):
    served_as = {get_mimetype(f"a{suffix}").partition("/")[0] for suffix in SUFFIXES[kind]}
    assert served_as == {"document": {"application", "image"}}.get(kind, {kind})


def test_an_empty_conversation_is_not_saved():
    with pytest.raises(SessionError, match="nothing to save"):
        save([])


def test_a_picture_that_is_gone_is_told_when_saving(tmp_path):
    with pytest.raises(MediaError, match=MISSING):
        save([user(image(tmp_path / "gone.png"))])


@pytest.mark.parametrize("limit", ["MAX_BYTES", "MAX_TEXT_BYTES", "MAX_MESSAGES", "MAX_MEDIA"])
def test_what_could_not_be_loaded_again_is_not_saved(tmp_path, monkeypatch, upload_folder, limit):
    (tmp_path / "a.png").write_bytes(PNG)
    history = [user(image(tmp_path / "a.png"), text("What?"))]
    save(history)
    monkeypatch.setattr(conversation_file, limit, 0)
    with pytest.raises(SessionError) as refusal:
        save(history)
    assert str(refusal.value) == TOO_LARGE
    assert len(files(upload_folder)) == 1, "what was saved before"


# ---- files of strangers ---------------------------------------------------------------------------------------------


def zipped(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], pack=zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", pack) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def refused(path: Path, upload_folder: Path, kind=SessionError) -> str:
    """What is said; checks that it holds no path and that nothing is left."""
    with pytest.raises(kind) as refusal:
        load(path)
    said = str(refusal.value)
    assert not any(mark in said for mark in (str(path.parent), "/", "media", "Traceback")) and said.endswith(".")
    assert not upload_folder.exists() or files(upload_folder) == []
    return said


def conversation(*messages) -> bytes:
    return json.dumps({"messages": messages}).encode()


ASKED = conversation(user(image(PICTURE), text("What?")))


def test_what_the_helpers_below_pack_is_loaded_where_nothing_is_wrong_with_it(tmp_path):
    assert load(zipped(tmp_path / "a.zip", (TEXT, ASKED), (PICTURE, PNG)))[0]["content"][1] == text("What?")


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip" * 20, PNG, b"PK\5\6" + bytes(18), bytes(100)])
def test_what_is_no_zip_is_refused(tmp_path, upload_folder, content):
    (tmp_path / "a.zip").write_bytes(content)
    assert refused(tmp_path / "a.zip", upload_folder) == NOT_OURS


@pytest.mark.parametrize("name", [
    "../a.png", "/etc/a.png", "media/../../a.png", "C:\\a.png", "media\\a.png", f"/{PICTURE}", f"../{PICTURE}",
    f"media/{'0' * 64}.html", f"media/{'0' * 64}.zip", f"media/{'0' * 64}.svg", "media/", "media/a.png", f"{PICTURE}\n",
    "another.json", f"media/{'0' * 63}٠.png",
])  # fmt: skip
def test_a_name_that_save_does_not_give_is_refused(tmp_path, upload_folder, name):
    packed = zipped(tmp_path / "a.zip", (TEXT, conversation(user(image(name)))), (name, PNG))
    assert refused(packed, upload_folder) == NOT_OURS
    assert not (tmp_path / "a.png").exists() and not Path("/etc/a.png").exists()


def test_a_zip_in_the_zip_is_not_a_picture(tmp_path, upload_folder):
    inner = zipped(tmp_path / "inner.zip", (TEXT, ASKED), (PICTURE, PNG)).read_bytes()
    packed = zipped(tmp_path / "a.zip", (TEXT, ASKED), (PICTURE, inner))
    assert "not a picture" in refused(packed, upload_folder, MediaError)


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFDIR, stat.S_IFCHR])
def test_what_is_no_plain_file_is_refused(tmp_path, upload_folder, mode):
    link = zipfile.ZipInfo(PICTURE)
    link.external_attr = (mode | 0o777) << 16
    assert refused(zipped(tmp_path / "a.zip", (TEXT, ASKED), (link, b"/etc/passwd")), upload_folder) == NOT_OURS


def test_the_same_name_twice_is_refused(tmp_path, upload_folder):
    with pytest.warns(UserWarning, match="Duplicate"):
        packed = zipped(tmp_path / "a.zip", (TEXT, ASKED), (PICTURE, PNG), (PICTURE, PNG))
    assert refused(packed, upload_folder) == NOT_OURS


@pytest.mark.parametrize("pack", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_compression_is_refused(tmp_path, upload_folder, pack):
    assert refused(zipped(tmp_path / "a.zip", (TEXT, ASKED), (PICTURE, PNG), pack=pack), upload_folder) == NOT_OURS


def test_an_encrypted_file_is_refused(tmp_path, upload_folder):
    packed = bytearray(zipped(tmp_path / "a.zip", (TEXT, ASKED), (PICTURE, PNG)).read_bytes())
    packed[6] |= 1  # of the first file's own header
    packed[packed.index(b"PK\1\2") + 8] |= 1  # and in the directory
    (tmp_path / "a.zip").write_bytes(packed)
    assert refused(tmp_path / "a.zip", upload_folder) == NOT_OURS


@pytest.fixture
def unpacked(monkeypatch) -> list[str]:
    """Names of what was opened in zips; how much memory that takes is in tests/security/test_conversation_bombs.py."""
    names, open_entry = [], zipfile.ZipFile.open

    def noted(archive, name, mode="r", *args, **options):
        if mode == "r":
            names.append(name)
        return open_entry(archive, name, mode, *args, **options)

    monkeypatch.setattr(zipfile.ZipFile, "open", noted)
    return names


@pytest.mark.parametrize("name", [TEXT, PICTURE])
def test_a_bomb_is_refused_before_anything_is_unpacked(tmp_path, upload_folder, unpacked, name):
    other = {TEXT: PICTURE, PICTURE: TEXT}[name]
    packed = zipped(tmp_path / "a.zip", (name, bytes(MAX_BYTES)), (other, ASKED))
    assert packed.stat().st_size < MAX_BYTES / 500
    assert refused(packed, upload_folder) == TOO_LARGE
    assert unpacked == []


def test_a_conversation_of_too_much_text_is_refused(tmp_path, upload_folder, unpacked):
    assert refused(zipped(tmp_path / "a.zip", (TEXT, b" " * (MAX_TEXT_BYTES + 1))), upload_folder) == TOO_LARGE
    assert unpacked == []


@pytest.fixture
def never_opened(monkeypatch):
    def refuse(*args):
        raise AssertionError("the directory was read")

    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", refuse)


def test_a_zip_of_many_files_is_refused_before_its_directory_is_read(tmp_path, upload_folder, never_opened):
    many = [(f"media/{number:064}.png", b"") for number in range(MAX_MEDIA + 1)]
    assert refused(zipped(tmp_path / "a.zip", (TEXT, ASKED), *many), upload_folder) == TOO_LARGE


def test_a_zip_with_long_names_is_refused_before_its_directory_is_read(tmp_path, upload_folder, never_opened):
    packed = zipped(tmp_path / "a.zip", (TEXT, ASKED), ("a" * 60_000, b""))
    assert refused(packed, upload_folder) == TOO_LARGE


def test_a_second_directory_for_large_zips_is_refused_before_it_is_read(tmp_path, upload_folder, never_opened):
    packed = zipped(tmp_path / "a.zip", (TEXT, ASKED), (PICTURE, PNG)).read_bytes()
    (tmp_path / "a.zip").write_bytes(packed[:-22] + b"PK\6\7" + bytes(16) + packed[-22:])
    assert refused(tmp_path / "a.zip", upload_folder) == NOT_OURS


# ---- conversations of strangers -------------------------------------------------------------------------------------


HELLO = user(text("Hello"))


@pytest.mark.parametrize("content", [
    b"", b"{", b"null", b"7", b"[]", b"{}", b'{"messages": null}', b'{"messages": []}', b'{"messages": {"role": 1}}',
    b'{"messages": ' + b"[" * 100_000, b'{"messages": [' + b"9" * 100_000 + b"]}", b"\xff\xfe",
    b'{"messages": ["user"]}',
])  # fmt: skip
def test_what_is_no_list_of_messages_is_refused(tmp_path, upload_folder, content):
    assert refused(zipped(tmp_path / "a.zip", (TEXT, content)), upload_folder) == NOT_OURS


def test_a_zip_without_a_conversation_is_refused(tmp_path, upload_folder):
    assert refused(zipped(tmp_path / "a.zip", (PICTURE, PNG)), upload_folder) == NOT_OURS


@pytest.mark.parametrize("message", [
    {}, [], None, {"role": "user"}, {"content": []}, user(), {"role": "user", "content": "Hello"},
    {"role": "system", "content": [text("You are a pirate.")]}, {"role": "tool", "content": [text("x")]},
    {"role": ["user"], "content": [text("x")]}, {**HELLO, "name": "x"}, {**HELLO, "note": "x"}, answer("Hello"),
    user("Hello"), user(None), user({}), user({"type": "text"}), user({"type": "text", "text": 7}), user({"type": []}),
    user({"type": "audio", "audio": PICTURE}), user({"type": "image", "image": 7}),
    user({"type": "image", "video": PICTURE}), user({"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}}),
    user({**text("x"), "image": PICTURE}), user({"type": "video", "video": [PICTURE]}),
    user({"type": "video", "video": PICTURE, "fps": 1e9}), user({**image(PICTURE), "pages": [1]}),
    user({"type": "document", "document": PICTURE, "pages": [0]}),
    user(text("\ud800")), user(text("a" * (MAX_CHARACTERS + 1))), user(*[image(PICTURE)] * (MAX_FILES + 1)),
], ids=lambda message: repr(message)[:60])  # fmt: skip
def test_a_first_message_of_the_wrong_shape_is_refused(tmp_path, upload_folder, message):
    packed = zipped(tmp_path / "a.zip", (TEXT, conversation(message)), (PICTURE, PNG))
    assert refused(packed, upload_folder) == NOT_OURS


@pytest.mark.parametrize("message", [
    HELLO, answer(7), {"role": "assistant", "content": [text("x")]}, answer("x", note=7), answer("x", cut=1),
    answer("x", boxed=[PICTURE]), answer("x", ended=True), {"role": "system", "content": "x"}, {"role": "assistant"},
], ids=lambda message: repr(message)[:60])  # fmt: skip
def test_an_answer_of_the_wrong_shape_is_refused(tmp_path, upload_folder, message):
    packed = zipped(tmp_path / "a.zip", (TEXT, conversation(HELLO, message)), (PICTURE, PNG))
    assert refused(packed, upload_folder) == NOT_OURS


def test_too_many_messages_are_refused(tmp_path, upload_folder):
    packed = zipped(tmp_path / "a.zip", (TEXT, conversation(*[HELLO, answer("Hi")] * (MAX_MESSAGES // 2), HELLO)))
    assert refused(packed, upload_folder) == TOO_LARGE


# ---- media of strangers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [
    user(image("/etc/passwd")), user(image("../a.png")), user(image("http://127.0.0.1/a.png")), user(image("")),
    user(image(TEXT)), user({"type": "video", "video": PICTURE}), user(image(f"media/{'0' * 64}.mp4")),
])  # fmt: skip
def test_a_medium_that_the_file_does_not_hold_is_missing(tmp_path, upload_folder, message):
    packed = zipped(tmp_path / "a.zip", (TEXT, conversation(message)), (PICTURE, PNG))
    assert refused(packed, upload_folder, MediaError) == MISSING


def test_boxes_on_a_picture_that_the_file_does_not_hold_are_missing(tmp_path, upload_folder):
    packed = zipped(tmp_path / "a.zip", (TEXT, conversation(HELLO, answer("x", boxed="/etc/passwd"))))
    assert refused(packed, upload_folder, MediaError) == MISSING


@pytest.mark.parametrize(("kind", "suffix", "content", "says"), [
    ("image", ".png", b"Dear model,", "not a picture"), ("image", ".png", b"", "empty file"),
    ("image", ".png", PNG[:45], "damaged or incomplete"), ("image", ".png", png_header(60_000, 60_000), "too large"),
    ("image", ".png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    ("image", ".gif", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    ("video", ".mp4", b"no video", "damaged, or of a kind"),
    ("video", ".mp4", b"#EXTM3U\nfile:///etc/passwd", "damaged"),
])  # fmt: skip
def test_what_is_no_picture_and_no_video_is_refused_and_the_good_one_before_it_too(
    tmp_path, upload_folder, kind, suffix, content, says
):
    name = f"media/{'1' * 64}{suffix}"
    asked = conversation(user(image(PICTURE), {"type": kind, kind: name}))
    packed = zipped(tmp_path / "a.zip", (TEXT, asked), (PICTURE, PNG), (name, content))
    assert says in refused(packed, upload_folder, MediaError)


def test_what_no_message_names_is_not_unpacked(tmp_path, upload_folder):
    load(zipped(tmp_path / "a.zip", (TEXT, conversation(HELLO)), (PICTURE, PNG)))
    assert not upload_folder.exists() or files(upload_folder) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    return zipped(folder / "a.zip", (TEXT, ASKED), (PICTURE, PNG)).read_bytes()


@given(st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_anywhere_gives_a_conversation_or_a_plain_sentence(tmp_path, whole, data):
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.zip").write_bytes(content[: data.draw(st.integers(0, 9)) or None])
    try:
        load(tmp_path / "a.zip")
    except (SessionError, MediaError) as error:
        assert "/" not in str(error)
