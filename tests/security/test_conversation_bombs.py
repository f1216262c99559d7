"""Small conversation files that unpack to much (H1), measured by the memory of a process that loads them."""

import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from chat_page.conversation_file import MAX_JSON_ENTRIES, MAX_TEXT_BYTES, NOT_OURS, TEXT, TOO_LARGE

ROOT = Path(__file__).resolve().parents[2]
PICTURE = f"media/{'0' * 64}.png"
UNPACKED = 64 << 20
ALLOWED_MB = 30  # for 4 MB of text and its copies
CONVERSATION = json.dumps({"messages": [{"role": "user", "content": [{"type": "image", "image": PICTURE}]}]}).encode()
LOAD = """
import sys
from pathlib import Path
from chat_page.conversation_file import load

def megabytes(line):
    status = Path("/proc/self/status").read_text()
    return int(status.partition(line + ":")[2].split()[0]) // 1024

for path in sys.argv[1:]:
    before = megabytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    try:
        load(path)
        said = "loaded"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    print(megabytes("VmHWM") - before, said, sep="\\t")
"""


def zipped(path: Path, states: int | None = None, **entries: bytes) -> Path:
    """A zip with these entries; the last of them states another size in the directory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    if states is not None:
        packed = bytearray(path.read_bytes())
        entry = packed.rindex(b"PK\1\2")
        packed[entry + 24 : entry + 28] = struct.pack("<L", states)
        path.write_bytes(packed)
    return path


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> dict[str, tuple[int, str]]:
    """{what was packed: (MB that loading it took at most, what was said)}"""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system does not tell the most memory that a process had")
    folder = tmp_path_factory.mktemp("bombs")
    bomb, lists = bytes(UNPACKED), b'{"messages": [' + b"[]," * ((MAX_TEXT_BYTES - 100) // 3) + b"[]]}"
    files = {
        "a picture that states 1000 bytes": zipped(folder / "1.zip", 1000, **{TEXT: CONVERSATION, PICTURE: bomb}),
        "text that states 1000 bytes": zipped(folder / "2.zip", 1000, **{PICTURE: b"x", TEXT: bomb}),
        "text that states the most that is allowed": zipped(folder / "3.zip", MAX_TEXT_BYTES, **{TEXT: bomb}),
        "a picture that states more": zipped(folder / "4.zip", **{TEXT: CONVERSATION, PICTURE: bomb}),
        "empty lists": zipped(folder / "5.zip", **{TEXT: lists}),
    }
    assert all(path.stat().st_size < UNPACKED / 500 for path in files.values())
    command = [sys.executable, "-c", LOAD, *map(str, files.values())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    return {name: (int(megabytes), said) for name, (megabytes, said) in zip(files, lines, strict=True)}


def test_none_of_them_takes_more_memory_than_a_few_pieces(loaded):
    assert {name: took for name, (took, _) in loaded.items() if took > ALLOWED_MB} == {}


def test_each_of_them_is_refused_in_words(loaded):
    said = {name: words.partition(": ")[2] for name, (_, words) in loaded.items()}
    assert said.pop("a picture that states more") == TOO_LARGE
    assert set(said.values()) == {NOT_OURS}


def test_a_conversation_that_the_page_saves_has_room(tmp_path):
    """Brackets in what people write are not counted."""
    from chat_page.conversation_file import load, save

    code = "[{}, " * 1000
    history = [
        {"role": "user", "content": [{"type": "text", "text": code}]},
        {"role": "assistant", "content": code},
    ] * 50
    assert json.dumps(history).count("[") > MAX_JSON_ENTRIES
    assert load(save(history)) == history
