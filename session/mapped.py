"""Weight files that are in memory twice.

OpenVINO maps them, and its CPU plugin unpacks them at the first inference into copies of its own. The mapped pages stay
with the process, 1.5 GB for an INT4 export of 2B, until the system needs memory for something else. Here: to give them
back before. Not here: who reads weights, and other systems than Linux, where nothing is done.
"""

import ctypes
import mmap
import sys
from pathlib import Path

MAPS = Path("/proc/self/maps")  # https://docs.kernel.org/filesystems/proc.html


class MappedFile:
    """A file that something in this process has mapped."""

    def __init__(self, path: Path):
        self._path, self._held = str(path.resolve()), sys.platform == "linux"

    def let_go(self) -> None:
        """Give its pages back, once. Whoever reads one later gets it from the file again: this frees, and breaks
        nothing.
        """
        if not self._held:
            return
        self._held = False
        madvise = ctypes.CDLL(None).madvise
        for line in MAPS.read_text(encoding="utf-8", errors="replace").splitlines():
            span, *_, name = line.split(maxsplit=5)
            if name == self._path:
                begin, end = (int(address, 16) for address in span.split("-"))
                madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)
