"""A child process whose output is read while it runs, and which never outlives the `with` block that started it.

    with Child([sys.executable, "job.py"], env=dict(os.environ)) as child:
        for piece in child.pieces(tick_s=1.0):
            ...
        returncode = child.wait()

Nor, on Linux, does it outlive our process: killed outright, that takes the child with it
(`export/parent_death_signal.py`). Elsewhere the child goes on until it prints its next line, which nobody reads. What
its output means is the callers' business.
"""

import codecs
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

PIECE = re.compile(r"([^\r\n]*)(\r?\n|\r(?!\Z))")  # a last \r may be the first half of \r\n: wait for the rest
ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
GRACE_S = 5.0  # for a child that was asked to stop to put its things away
CHUNK_BYTES = 1 << 16


class Piece(NamedTuple):
    """One line of output."""

    text: str  # without escape sequences
    whole: bool  # a line that is finished, rather than one state of a line that is being rewritten


class Child:
    """Runs `argv`; use as a context manager. stderr joins stdout, and there is no input to wait for.

    holds: descriptors that the child keeps open as long as it lives, such as a lock's. Not on Windows.
    """

    def __init__(self, argv: list[str], env: dict[str, str], holds: Sequence[int] = ()) -> None:
        self._argv, self._env = argv, env
        self._holds = () if os.name == "nt" else holds
        self._output: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def __enter__(self) -> "Child":
        # No session of its own: whoever ends our process group (a closed terminal, a restarted kernel) ends it too.
        self._process = subprocess.Popen(
            with_parent_death_signal(self._argv),
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=self._holds,
        )
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *exc_info) -> None:
        if self._process.poll() is None:
            self._stop()

    def pieces(self, tick_s: float) -> Iterator[Piece | None]:
        """Yields output as it comes, and None whenever nothing came for `tick_s` seconds."""
        rest = ""
        while (chunk := self._next_chunk(tick_s)) is not None:
            if not chunk:
                yield None
            rest += chunk
            done = 0
            for match in PIECE.finditer(rest):
                done = match.end()
                text = ESCAPE_SEQUENCE.sub("", match[1]).rstrip()
                yield Piece(text, whole=match[2] != "\r")
            rest = rest[done:]
        last = ESCAPE_SEQUENCE.sub("", rest).strip()
        if last:
            yield Piece(last, whole=True)

    def wait(self) -> int:
        """Its exit code, once it has ended by itself; negative for a signal."""
        return self._process.wait()

    def _next_chunk(self, tick_s: float) -> str | None:
        """Output as it came, "" when none came in time, None after the last."""
        try:
            return self._output.get(timeout=tick_s)
        except queue.Empty:
            return ""

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with self._process.stdout as pipe:
            while data := os.read(pipe.fileno(), CHUNK_BYTES):
                self._output.put(decoder.decode(data))
        self._output.put(None)

    def _stop(self) -> None:
        """Asks as Ctrl-C does, so that the child can clean up, and insists if it does not listen."""
        self._process.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGINT)
        try:
            self._process.wait(GRACE_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C means now
            self._process.kill()
            self._process.wait()


def with_parent_death_signal(argv: list[str]) -> list[str]:
    """`argv`, such that the child ends when this process does, however that comes about; as it is where not Linux."""
    if not sys.platform.startswith("linux"):
        return argv
    program = Path(__file__).with_name("parent_death_signal.py")
    return [sys.executable, "-I", "-S", str(program), str(os.getpid()), *argv]
