"""Where a picture or a video is: the forms that people write, and what is refused.

    opened("file:///home/me/cat.jpg", "picture")  # the path
    opened("data:image/png;base64,…", "picture")  # a file in memory

Here: paths, file:// and data: addresses, bytes, open files. Nothing is fetched from the web. Not here: what is in the
file (`session.images`, `session.videos`).
"""

import base64
import binascii
import io
import os
import stat
from typing import BinaryIO
from urllib.parse import unquote, unquote_to_bytes, urlsplit

EMPTY = "This {} is an empty file: it has no bytes. Please add it again."
ADDRESSES = ("http", "https", "ftp", "s3", "rtsp", "rtmp", "hf")


class MediaError(ValueError):
    """A picture or a video that cannot be used. The message is a plain sentence, and never contains a path."""


def opened(source, what: str) -> str | BinaryIO:
    """A path that is there, or a file in memory. what: "picture", "video" or "document", for the MediaError."""
    if isinstance(source, bytes | bytearray | memoryview):
        return _in_memory(source, what)
    if hasattr(source, "read"):
        source.seek(0)
        return _in_memory(source.read(), what)
    if not isinstance(source, str | os.PathLike):
        raise MediaError(f"This {what} is a {type(source).__name__}; it must be a path, a file's bytes or a picture.")
    path = os.fspath(source)
    scheme = urlsplit(path).scheme.lower() if isinstance(path, str) else ""
    if scheme == "data":
        return _in_memory(_data(path, what), what)
    if scheme in ADDRESSES:
        raise MediaError(
            f"This {what} is at an address of the web, and nothing is fetched here: save it and add the file."
        )
    if scheme == "file":
        path = unquote(urlsplit(path).path)
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        raise MediaError(f"There is no such {what} here (any more). Please add it again.") from error
    if stat.S_ISREG(found.st_mode) and not found.st_size:
        raise MediaError(EMPTY.format(what))
    return path


def _in_memory(data: bytes, what: str) -> BinaryIO:
    if not data:
        raise MediaError(EMPTY.format(what))
    return io.BytesIO(data)


def _data(address: str, what: str) -> bytes:
    """What is in a data: address (RFC 2397)."""
    head, comma, data = address.partition(",")
    if not comma:
        raise MediaError(f"This {what} is a data: address without data.")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(data)
    try:
        return base64.b64decode("".join(unquote(data).split()) + "==")
    except (binascii.Error, ValueError) as error:
        raise MediaError(f"This {what} is a data: address that is not valid base64.") from error
