"""A conversation as one file, and back.

Here: the file (a .zip with `conversation.json` and the pictures and videos in `media/`), and what is refused when it
comes back from a stranger. Not here: the shape of a message (`chat_page.stored_messages`), the page's settings.

Names in the file are hashes of the content, so neither paths nor the names that people gave their files are in it.

Nothing is unpacked by the names and sizes that a file states: names have to be those that `save` gives, sizes are
bounded before anything is read, and nothing is unpacked beyond them; JSON is measured before it is parsed; what is read
is opened as a picture or a video before the page gets it. Whatever is wrong ends in a SessionError or a MediaError.
"""

import json
import os
import re
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from adapters.gradio_internals import get_upload_folder, hash_file, save_file_to_cache
from adapters.json_size import has_more_entries
from chat_page.stored_messages import MAX_MESSAGES, are_messages, with_files
from session.documents import load_page
from session.media import MediaError, load_image, load_video
from session.prompt import SessionError

MAX_BYTES = 60 << 20  # unpacked: with its directory, still a file that may be uploaded
MAX_TEXT_BYTES = 4 << 20  # of conversation.json
MAX_MEDIA = 64
MAX_DIRECTORY_BYTES = 200 * (MAX_MEDIA + 1)  # how the zip lists its files
MAX_JSON_ENTRIES = 20_000  # of conversation.json, brackets and commas: empty lists take thirty times their text
PIECE_BYTES = 1 << 18  # unpacked at once
SUFFIXES = {  # what Gradio serves as just that; the first is for files without one of these
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".avif"),
    "video": (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ogv", ".flv", ".wmv"),
    "document": (".pdf", ".tif", ".tiff"),
}
OPENERS = {"image": load_image, "video": load_video, "document": lambda path: load_page(path, 1)}
TEXT = "conversation.json"
NOT_OURS = "This file is not a conversation that was saved by this page."
TOO_LARGE = f"At most {MAX_BYTES >> 20} MB, {MAX_MESSAGES} messages, and {MAX_MEDIA} pictures and videos fit in a file."
NOTHING_YET = "There is nothing to save yet: ask a question first."
MISSING = "A picture or a video of this conversation is missing."

# The end of a zip, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.15 and 4.3.16
_END_OF_DIRECTORY = struct.Struct("<4s4H2LH")  # signature, two disks, entries here and in all, size, offset, comment
_LOCATOR_64_BYTES = 20

_SUFFIX = "|".join(re.escape(suffix) for suffixes in SUFFIXES.values() for suffix in suffixes)
_MEDIA_NAME = re.compile(rf"media/[0-9a-f]{{64}}({_SUFFIX})")
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OSError)  # by zip or JSON


def save(history: list[dict]) -> Path:
    """A .zip in the folder whose files Gradio serves, and deletes once a component of the page has shown them.

    Raises SessionError and MediaError.
    """
    if not history:
        raise SessionError(NOTHING_YET)
    files: dict[str, Path] = {}  # by their name in the zip

    def name_in_zip(kind: str, path: str) -> str:
        name = _media_name(kind, Path(path))
        files[name] = Path(path)
        return name

    messages = [with_files(message, name_in_zip) for message in history]
    text = json.dumps({"messages": messages}, ensure_ascii=False).encode()
    size = len(text) + sum(path.stat().st_size for path in files.values())
    if len(history) > MAX_MESSAGES or len(files) > MAX_MEDIA or len(text) > MAX_TEXT_BYTES or size > MAX_BYTES:
        raise SessionError(TOO_LARGE)
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder, f"conversation-{datetime.now():%Y-%m-%d-%H%M}.zip")
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
        with open(path, "rb") as file:
            _check_directory(file)
            with zipfile.ZipFile(file) as archive, tempfile.TemporaryDirectory() as folder:
                media_names = _checked_media_names(archive)
                messages = _messages_in(archive)
                return _with_unpacked_files(archive, media_names, messages, Path(folder))
    except (SessionError, MediaError):
        raise
    except _DAMAGED as error:
        raise SessionError(NOT_OURS) from error


def _media_name(kind: str, path: Path) -> str:
    """The name in the zip of the file at `path`: a hash of its content, and a suffix that tells its kind."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES[kind]:
        suffix = SUFFIXES[kind][0]
    try:
        return f"media/{hash_file(path)}{suffix}"
    except OSError as error:
        raise MediaError(f"{MISSING} Please add it again.") from error


def _check_directory(file: BinaryIO) -> None:
    """Raise SessionError where the zip's directory is one that `save` does not write: Python reads it whole."""
    file.seek(-_LOCATOR_64_BYTES - _END_OF_DIRECTORY.size, os.SEEK_END)
    locator_64 = file.read(_LOCATOR_64_BYTES)
    end_of_directory = _END_OF_DIRECTORY.unpack(file.read(_END_OF_DIRECTORY.size))
    signature, _, _, _, entries, size, _, comment = end_of_directory
    if signature != b"PK\x05\x06" or locator_64.startswith(b"PK\x06\x07") or comment:
        raise SessionError(NOT_OURS)
    if entries > MAX_MEDIA + 1 or size > MAX_DIRECTORY_BYTES:
        raise SessionError(TOO_LARGE)


def _checked_media_names(archive: zipfile.ZipFile) -> set[str]:
    """The names of all pictures and videos in the zip. Raises SessionError where a name, a kind of file, or a stated
    size is not as in what `save` writes.
    """
    entries = archive.infolist()
    sizes = {entry.filename: entry.file_size for entry in entries}
    has_duplicates = len(sizes) < len(entries)
    if has_duplicates or TEXT not in sizes or not all(map(_is_ours, entries)):
        raise SessionError(NOT_OURS)
    if sum(sizes.values()) > MAX_BYTES or sizes[TEXT] > MAX_TEXT_BYTES:
        raise SessionError(TOO_LARGE)
    return sizes.keys() - {TEXT}


def _is_ours(entry: zipfile.ZipInfo) -> bool:
    is_regular_file = stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG)
    is_plainly_packed = entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    is_named_by_us = entry.filename == TEXT or _MEDIA_NAME.fullmatch(entry.filename) is not None
    return is_regular_file and is_plainly_packed and is_named_by_us


def _with_unpacked_files(
    archive: zipfile.ZipFile, media_names: set[str], messages: list[dict], folder: Path
) -> list[dict]:
    """The conversation with paths in the upload folder. Every file is opened in `folder` before any gets there."""
    opened: dict[str, Path] = {}

    def unpack_and_open(kind: str, name: str) -> str:
        if name not in media_names or Path(name).suffix not in SUFFIXES[kind]:
            raise MediaError(MISSING)
        if name not in opened:
            opened[name] = folder / Path(name).name
            with archive.open(name) as packed, opened[name].open("wb") as file:
                shutil.copyfileobj(packed, file, PIECE_BYTES)  # up to the stated size
            OPENERS[kind](opened[name])
        return name

    for message in messages:
        with_files(message, unpack_and_open)
    paths = {name: save_file_to_cache(path, get_upload_folder()) for name, path in opened.items()}
    return [with_files(message, lambda _, name: paths[name]) for message in messages]


def _messages_in(archive: zipfile.ZipFile) -> list[dict]:
    """What conversation.json holds. Raises SessionError or ValueError where that is no conversation."""
    with archive.open(TEXT) as packed:  # `ZipFile.read` unpacks all there is, and looks at the stated size afterwards
        text = packed.read(MAX_TEXT_BYTES)
    if not has_more_entries(text, MAX_JSON_ENTRIES):
        match json.loads(text):
            case {"messages": [_, *_] as messages}:
                if len(messages) > MAX_MESSAGES:
                    raise SessionError(TOO_LARGE)
                if are_messages(messages):
                    return messages
    raise SessionError(NOT_OURS)
