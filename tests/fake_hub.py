"""A hub on the loopback address, for HF_ENDPOINT: it speaks as much of the real one's protocol as downloads use.

Model info with the list of files, and files with ETag, commit and ranges. Faults are switched on by the test, for one
model each. Not here: log-ins, revisions other than main, uploads, Xet.
"""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repository:
    """A model on the hub. Every fault is off at first."""
    files: dict[str, bytes]
    status: int = 200  # what every request is answered with, with `error_code` where it is no 200
    error_code: str = ""
    cuts: dict[str, list[int]] = field(default_factory=dict)  # for a file: where each answer in turn breaks off
    sent: list[tuple[str, int]] = field(default_factory=list)  # (file, bytes of it) for each answer with a body

    def bytes_sent(self) -> int:
        return sum(size for _, size in self.sent)


class FakeHub:
    """Use as a context manager; `.address` is for HF_ENDPOINT."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}

    def __enter__(self) -> "FakeHub":
        handler = type("BoundHandler", (Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        return self

    def __exit__(self, *exc_info) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, name: str, files: dict[str, bytes]) -> Repository:
        self.repositories[name] = Repository(files)
        return self.repositories[name]

    def add_folder(self, name: str, folder: Path) -> Repository:
        return self.add(name, {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})


class Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def do_GET(self) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self.answer_info("/".join(parts[2:4]))
        else:
            self.answer_file("/".join(parts[:2]), "/".join(parts[4:]))  # owner/name/resolve/revision/file

    do_HEAD = do_GET

    def answer_info(self, name: str) -> None:
        if repository := self.found(name):
            siblings = [{"rfilename": file, "size": len(data)} for file, data in repository.files.items()]
            self.answer(200, json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode(),
                        {"Content-Type": "application/json"})

    def answer_file(self, name: str, file: str) -> None:
        if not (repository := self.found(name)):
            return
        if file not in repository.files:
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        data, start = repository.files[file], int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.answer(206 if start else 200, data[start:], headers, repository, file)

    def found(self, name: str) -> Repository | None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif repository.status != 200:
            self.answer(repository.status, b"", {"X-Error-Code": repository.error_code})
            return None
        return repository

    def answer(self, status: int, body: bytes, headers: dict, repository: Repository | None = None, file="") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if repository:
            if cuts := repository.cuts.get(file):
                body = body[:cuts.pop(0)]
            repository.sent.append((file, len(body)))
        self.wfile.write(body)  # HTTP/1.0: the connection ends here, whole answer or not

    def log_message(self, *args) -> None:
        """The server's own log would only clutter the output of the tests."""
