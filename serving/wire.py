"""What crosses between the page's process and a replica's: plain data, so that neither holds the other's objects.

Here: conversations with their files as bytes (a replica may run on another machine), which conversation is which,
errors by name. Not here: opening files (`session.media`), Ray.
"""

import hashlib
import io
import os
from collections import OrderedDict
from pathlib import Path

from PIL import Image

from chat_session import MediaError, SessionError
from session.prompt import blocks

MAX_BYTES = 64 << 20  # of all files of a conversation: they cross with every question
TOO_LARGE = f"The pictures and videos of a conversation can have {MAX_BYTES >> 20} MB together. Begin a new one."


class BusyError(SessionError):
    """All replicas have as much to do as they take, and as many wait already as may."""


class LostError(SessionError):
    """An answer that was cut off with its replica, and that no other could finish word for word."""


class ReplicaError(RuntimeError):
    """Something failed in a replica that should not; its log says what."""


ERRORS = {error.__name__: error for error in (MediaError, SessionError, TypeError, ValueError)}


def pack(messages: list[dict]) -> list[dict]:
    """A copy of `messages` with bytes in the place of paths and PIL images. Raises MediaError, SessionError."""
    packed = [{"role": m["role"], "content": [_packed(block) for block in blocks(m)]} for m in messages]
    files = (f for message in packed for block in message["content"] for f in _files(block))
    if sum(map(len, files)) > MAX_BYTES:
        raise SessionError(TOO_LARGE)
    return packed


def conversation_of(packed: list[dict]) -> str:
    """The same for every turn of a conversation: a digest of its first question, by the files alone where it has some,
    because pictures are looked at before the question is written.
    """
    first = next((message["content"] for message in packed if message["role"] == "user"), [])
    files = [file for block in first for file in _files(block)]
    texts = [str(block.get("text")).encode() for block in first]
    return hashlib.blake2b(b"\0".join(files or texts), digest_size=16).hexdigest()


class Files:
    """Paths for the bytes in packed messages, while the latest `max_bytes` of them are kept. For one thread at a time.

    In memory without a name, so that nothing of a visitor's is on this machine's disk when the process is killed; the
    same bytes have the same path, by which a session knows that it has seen them.
    """

    def __init__(self, max_bytes: int):
        self._max_bytes, self._kept = max_bytes, OrderedDict()  # digest -> (file descriptor, size)

    def unpack(self, packed: list[dict]) -> list[dict]:
        return [{**message, "content": [self._unpacked(block) for block in message["content"]]} for message in packed]

    def _unpacked(self, block: dict) -> dict:
        kind = block.get("type")
        if kind == "video" and isinstance(block["video"], list):
            return {**block, "video": [Image.open(io.BytesIO(frame)) for frame in block["video"]]}
        return {**block, kind: self._path(block[kind])} if isinstance(block.get(kind), bytes) else block

    def _path(self, data: bytes) -> str:
        digest = hashlib.blake2b(data, digest_size=16).digest()
        if digest not in self._kept:
            file = os.memfd_create("upload")
            with open(file, "wb", closefd=False) as writing:
                writing.write(data)
            self._kept[digest] = file, len(data)
        self._kept.move_to_end(digest)
        while sum(size for _, size in self._kept.values()) > self._max_bytes:
            os.close(self._kept.popitem(last=False)[1][0])
        return f"/proc/self/fd/{self._kept[digest][0]}"


def _packed(block: dict) -> dict:
    kind = block.get("type")
    if kind not in ("image", "video") or kind not in block:
        return block  # the session says what is wrong with it
    source = block[kind]
    many = isinstance(source, list | tuple)
    return {**block, kind: [_bytes(frame) for frame in source] if many else _bytes(source)}


def _bytes(source) -> bytes:
    """A file as it is; a PIL image without loss."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, Image.Image):
        source.save(file := io.BytesIO(), "PNG")
        return file.getvalue()
    try:
        if os.stat(source).st_size > MAX_BYTES:
            raise SessionError(TOO_LARGE)
        return Path(source).read_bytes()
    except OSError as error:
        raise MediaError("This file is no longer there. Please add it again.") from error


def _files(block: dict) -> list[bytes]:
    found = block.get(block.get("type"))
    return found if isinstance(found, list) else [found] if isinstance(found, bytes) else []
