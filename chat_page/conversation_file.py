"""A conversation as one file, and back.

Here: the file (a .zip with `conversation.json` and the pictures and videos in `media/`), and what is refused when it
comes back from a stranger. Not here: buttons, the page's settings.

A saved conversation is what the page keeps (`chat_page.messages`), with names in the file in place of paths. Names are
hashes of the content, so neither paths nor the names that people gave their files are in it.

Nothing is unpacked by the names and sizes that a file states: names have to be those that `save` gives, sizes are
bounded before anything is read, and what is read is opened as a picture or a video before the page gets it. Whatever
is wrong ends in a SessionError or a MediaError.
"""

import itertools
import json
import os
import re
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from gradio.processing_utils import hash_file, save_file_to_cache
from gradio.utils import get_upload_folder

from chat_page.messages import MAX_FILES
from session.media import MediaError, load_image, load_video
from session.prompt import MAX_CHARACTERS, SessionError, content_parts

MAX_BYTES = 60 << 20  # unpacked: with its directory, still a file that may be uploaded
MAX_TEXT = 4 << 20  # of conversation.json
MAX_MESSAGES = 200
MAX_MEDIA = 64
MAX_DIRECTORY = 200 * (MAX_MEDIA + 1)  # bytes: how the zip lists its files
MAX_NOTE = 1000  # characters
SUFFIXES = {  # what Gradio serves as just that; the first is for files without one of these
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".avif"),
    "video": (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ogv", ".flv", ".wmv"),
}
TEXT = "conversation.json"
TURNS = ("user", "assistant")
NOT_OURS = "This file is not a conversation that was saved by this page."
TOO_LARGE = f"At most {MAX_BYTES >> 20} MB, {MAX_MESSAGES} messages, and {MAX_MEDIA} pictures and videos fit in a file."
MISSING = "A picture or a video of this conversation is missing."

_NAME = re.compile(rf"media/[0-9a-f]{{64}}({'|'.join(re.escape(s) for group in SUFFIXES.values() for s in group)})")
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OSError)  # by zip or JSON


def save(history: list[dict]) -> Path:
    """A .zip in the folder whose files Gradio serves, and deletes once a component of the page has shown them."""
    if not history:
        raise SessionError("There is nothing to save yet.")
    files: dict[str, Path] = {}

    def named(kind: str, path: str) -> str:
        name = _name(kind, Path(path))
        files[name] = Path(path)
        return name

    text = json.dumps({"messages": [_with_files(message, named) for message in history]}, ensure_ascii=False).encode()
    size = len(text) + sum(path.stat().st_size for path in files.values())
    if len(history) > MAX_MESSAGES or len(files) > MAX_MEDIA or len(text) > MAX_TEXT or size > MAX_BYTES:
        raise SessionError(TOO_LARGE)
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder, "conversation.zip")
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(zipfile.ZipInfo(TEXT), text, zipfile.ZIP_DEFLATED)
            for name, path in files.items():
                archive.writestr(zipfile.ZipInfo(name), path.read_bytes())
        return Path(save_file_to_cache(packed, get_upload_folder()))


def load(path: str | os.PathLike) -> list[dict]:
    """The conversation in the file at `path`; its pictures and videos are in Gradio's upload folder then.

    Raises SessionError and MediaError, and has left no file behind then.
    """
    try:
        with open(path, "rb") as file, zipfile.ZipFile(_checked(file)) as archive:
            entries = _entries(archive)
            messages = _messages(archive.read(TEXT))
            with tempfile.TemporaryDirectory() as folder:
                return _unpacked(archive, entries, messages, Path(folder))
    except (SessionError, MediaError):
        raise
    except _DAMAGED as error:
        raise SessionError(NOT_OURS) from error


# ---- the file -------------------------------------------------------------------------------------------------------


def _name(kind: str, path: Path) -> str:
    suffix = path.suffix.lower() if path.suffix.lower() in SUFFIXES[kind] else SUFFIXES[kind][0]
    try:
        return f"media/{hash_file(path)}{suffix}"
    except OSError as error:
        raise MediaError(f"{MISSING} Please add it again.") from error


def _checked(file):
    """`file`, unless the directory at its end is one that `save` does not write: Python reads it whole."""
    file.seek(-42, os.SEEK_END)
    locator_64 = file.read(20)
    signature, *_, entries, size, _, comment = struct.unpack("<4s4H2LH", file.read(22))
    if signature != b"PK\x05\x06" or locator_64.startswith(b"PK\x06\x07") or comment:
        raise SessionError(NOT_OURS)
    if entries > MAX_MEDIA + 1 or size > MAX_DIRECTORY:
        raise SessionError(TOO_LARGE)
    return file


def _entries(archive: zipfile.ZipFile) -> set[str]:
    """Names of the media."""
    sizes = {info.filename: info.file_size for info in archive.infolist()}
    if len(sizes) < len(archive.infolist()) or TEXT not in sizes or not all(map(_is_ours, archive.infolist())):
        raise SessionError(NOT_OURS)
    if sum(sizes.values()) > MAX_BYTES or sizes[TEXT] > MAX_TEXT:
        raise SessionError(TOO_LARGE)
    return sizes.keys() - {TEXT}


def _is_ours(info: zipfile.ZipInfo) -> bool:
    regular = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
    packed = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    return regular and packed and bool(info.filename == TEXT or _NAME.fullmatch(info.filename))


def _unpacked(archive, entries: set[str], messages: list[dict], folder: Path) -> list[dict]:
    """The conversation with paths. Everything is looked at before anything is kept."""
    looked_at: dict[str, Path] = {}

    def look(kind: str, name: str) -> str:
        if name not in entries or Path(name).suffix not in SUFFIXES[kind]:
            raise MediaError(MISSING)
        if name not in looked_at:
            looked_at[name] = folder / Path(name).name
            looked_at[name].write_bytes(archive.read(name))
            (load_image if kind == "image" else load_video)(looked_at[name])
        return name

    for message in messages:
        _with_files(message, look)
    places = {name: save_file_to_cache(path, get_upload_folder()) for name, path in looked_at.items()}
    return [_with_files(message, lambda _, name: places[name]) for message in messages]


# ---- the conversation -----------------------------------------------------------------------------------------------


def _with_files(message: dict, renamed: Callable[[str, str], str]) -> dict:
    """A copy of `message` with other names for its files, and without what is not to be saved."""
    if message["role"] == "assistant":
        copy = {key: message[key] for key in ("role", "content", "note") if key in message}
        return copy | ({"boxed": renamed("image", message["boxed"])} if "boxed" in message else {})
    content = []
    for block in content_parts(message):
        kind = block["type"]
        content.append({"type": kind, kind: block[kind] if kind == "text" else renamed(kind, block[kind])})
    return {"role": message["role"], "content": content}


def _messages(text: bytes) -> list[dict]:
    """What conversation.json holds, if that is a conversation. Names of files are not looked at."""
    found = json.loads(text)
    messages = found.get("messages") if isinstance(found, dict) else None
    if isinstance(messages, list) and len(messages) > MAX_MESSAGES:
        raise SessionError(TOO_LARGE)
    if not messages or not isinstance(messages, list) or not all(map(_is_message, messages, itertools.cycle(TURNS))):
        raise SessionError(NOT_OURS)
    json.dumps(messages, ensure_ascii=False).encode()  # half a character cannot be shown: ValueError
    return messages


def _is_message(message, role: str) -> bool:
    if not isinstance(message, dict) or message.get("role") != role or "content" not in message:
        return False
    if role == "assistant":
        known = message.keys() <= {"role", "content", "note", "boxed"}
        return known and all(isinstance(v, str) for v in message.values()) and len(message.get("note", "")) <= MAX_NOTE
    content = message["content"]
    return message.keys() == {"role", "content"} and isinstance(content, list) and bool(content) and _fits(content)


def _fits(content: list) -> bool:
    """As much in one message as the page takes."""
    if not all(map(_is_block, content)):
        return False
    texts = [block["text"] for block in content if block["type"] == "text"]
    return len(content) - len(texts) <= MAX_FILES and sum(map(len, texts)) <= MAX_CHARACTERS


def _is_block(block) -> bool:
    kind = block.get("type") if isinstance(block, dict) else None
    return kind in ("text", "image", "video") and block.keys() == {"type", kind} and isinstance(block[kind], str)
