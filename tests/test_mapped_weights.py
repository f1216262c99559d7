"""Weight files that OpenVINO has unpacked do not stay in memory a second time."""

import mmap
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from adapters.openvino_runtime import MEMORY_MAP, MappedFile
from chat_session import ChatSession

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say what is mapped")


def resident_kb(path: Path) -> int:
    """How much of `path` this process holds in memory."""
    found, inside = 0, False
    for line in (MEMORY_MAP.parent / "smaps").read_text(errors="replace").splitlines():
        if "-" in line.split(maxsplit=1)[0]:
            inside = line.split(maxsplit=5)[-1] == str(path)
        elif inside and line.startswith("Rss:"):
            found += int(line.split()[1])
    return found


def until_released(path: Path) -> None:
    """Waits until the pages are given back, while OpenVINO would still be at work."""
    deadline = time.monotonic() + 20
    while resident_kb(path) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert resident_kb(path) == 0


def test_pages_are_given_back_meanwhile_and_can_be_read_again(tmp_path):
    path = tmp_path / "a name with spaces.bin"
    path.write_bytes(b"weights " * (1 << 17))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        whole = mapped[:]
        assert resident_kb(path) > 900
        held = MappedFile(path, np.frombuffer(mapped, np.uint8))
        with pytest.raises(KeyboardInterrupt), held.unpacking():
            raise KeyboardInterrupt  # not all is unpacked
        assert resident_kb(path) == 0
        with held.unpacking():
            assert mapped[:] == whole
            until_released(path)
        assert resident_kb(path) == 0
        with held.unpacking():  # all is unpacked
            assert mapped[:] == whole
        assert resident_kb(path) > 900
        del held  # which would keep the file mapped


def test_where_another_model_mapped_the_same_file_nothing_is_given_back(tmp_path):
    """It may be unmapped at that moment, and something else be there."""
    path = tmp_path / "weights.bin"
    path.write_bytes(b"weights " * (1 << 17))
    with path.open("rb") as file:
        own, other = (mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) for _ in range(2))
        assert own[:] == other[:]
        with MappedFile(path, np.frombuffer(own, np.uint8)).unpacking():
            pass
        assert 900 < resident_kb(path) < 1100


def test_a_file_that_is_not_there_or_not_mapped_is_no_error(tmp_path):
    with MappedFile(tmp_path / "missing.bin", np.zeros(1)).unpacking():
        pass


def test_a_session_lets_go_of_what_it_unpacked(int4_dir, processor, tmp_path):
    from optimum.intel.openvino import OVModelForVisualCausalLM

    folder = shutil.copytree(int4_dir, tmp_path / "mapped by this test alone")
    model = OVModelForVisualCausalLM.from_pretrained(str(folder), device="CPU", compile=False)
    session = ChatSession(model, processor)
    files = [folder.resolve() / f"openvino_{name}_model.bin" for name in ("language", "vision_embeddings_merger")]
    assert all(f"{file}\n" in MEMORY_MAP.read_text() for file in files)
    session.warm_up()
    assert [resident_kb(file) for file in files] == [0, 0]
