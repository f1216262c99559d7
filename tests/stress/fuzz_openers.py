"""Files made by a fuzzer that sees what our code does with them: `python -m tests.stress.fuzz_openers [SECONDS]`.

Needs `pip install atheris` (3.0.0; Linux, https://github.com/google/atheris), which is in no requirements file: it is
run by hand. It begins with a whole file of each kind, and goes on from each that took our code, or Pillow's, a new way.
What ends in anything but pixels or a MediaError, takes over five seconds, or over 2 GB, stops it with the file's name.

Not here: damage by chance, which CI does (tests/slow/test_fuzz_openers.py); what is inside FFmpeg, PDFium and libheif.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["session", "PIL"]):
    from session.documents import load_page
    from session.media import MediaError, inspect, kind_of, load_image, load_video


def open_all_ways(content: bytes) -> None:
    kind_of(content)
    for opener in (inspect, load_image, load_video, lambda source: load_page(source, 1)):
        with contextlib.suppress(MediaError):
            opener(content)


def main(seconds: int) -> None:
    from tests.slow.test_fuzz_openers import small_files

    with tempfile.TemporaryDirectory() as folder:
        for name, content in small_files(Path(folder)).items():
            (Path(folder) / name.replace(" ", "-")).write_bytes(content)
        limits = [f"-max_total_time={seconds}", "-timeout=5", "-rss_limit_mb=2048", "-max_len=20000", folder]
        atheris.Setup([sys.argv[0], *limits], open_all_ways)
        atheris.Fuzz()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 600)
