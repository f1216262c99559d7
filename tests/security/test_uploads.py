"""What visitors upload lies in a folder of our own, and goes after a day, also where the page crashed before; nothing
else stays of an upload, and the disk keeps some room.
"""

import asyncio
import contextlib
import os
import socket
import stat
import tempfile
import time
from pathlib import Path

import httpx
import pytest
from gradio import routes
from gradio.utils import get_upload_folder

from adapters import request_guard, upload_parser, uploads
from adapters.upload_parser import UploadProgress
from adapters.uploads import delete_old, use_own_folder
from chat_page.theme import MAX_FILE_AGE_S
from tests.fake_model import fake_processor, saying
from tests.test_gradio_helper import page_of, served

DAY_S = 24 * 3600


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv(uploads.VARIABLE)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    use_own_folder()
    return tmp_path / os.path.basename(os.environ[uploads.VARIABLE])


def aged(path, seconds: float):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    for entry in (path, path.parent):
        os.utime(entry, (time.time() - seconds,) * 2)
    return path


def test_the_folder_is_nobody_elses(folder):
    assert folder.is_dir()
    assert os.name != "posix" or stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.skipif(os.name != "posix", reason="symlinks")
def test_a_folder_that_somebody_else_put_there_is_not_taken(tmp_path, folder, monkeypatch):
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    monkeypatch.delenv(uploads.VARIABLE)
    use_own_folder()
    assert os.path.realpath(os.environ[uploads.VARIABLE]) != str(tmp_path / "elsewhere")


def test_a_page_that_starts_deletes_what_a_crash_left(folder):
    old, new = aged(folder / "old" / "a.png", MAX_FILE_AGE_S + 60), aged(folder / "new" / "b.png", 60)
    demo = page_of(saying("Hi.", fake_processor()))
    demo.launch(prevent_thread_lock=True, quiet=True)
    demo.close()
    assert not old.exists() and new.exists()


def test_a_folder_that_somebody_chose_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv(uploads.VARIABLE, str(tmp_path / "chosen"))
    (tmp_path / "chosen").mkdir()
    kept = aged(tmp_path / "chosen" / "old" / "a.png", 10 * DAY_S)
    use_own_folder()
    delete_old(DAY_S)
    assert os.environ[uploads.VARIABLE] == str(tmp_path / "chosen") and kept.exists()


# ---- what comes in --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page():
    with served(saying("Hi.", fake_processor())) as demo:
        yield demo


def upload(page, query: str = "", headers: dict | None = None, **given) -> httpx.Response:
    return httpx.post(f"{page.local_url}gradio_api/upload{query}", headers=headers, **given)


def files() -> set[Path]:
    return {path for path in Path(get_upload_folder()).rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "given", [{"data": {"files": "text"}, "files": {"files": b"x"}}, {"files": {"other": b"x"}}], ids=["field", "name"]
)
def test_an_upload_is_files_and_nothing_else(page, given):
    before = files()
    answer = upload(page, **given)
    assert answer.status_code == 400 and "nothing else" in answer.text
    assert files() == before


def test_of_an_upload_whose_sender_goes_away_nothing_stays(page):
    before, url = files(), httpx.URL(page.local_url)
    begun = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + b"x" * 100_000
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nContent-Length: 900000\r\n"
    head += "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    with socket.create_connection((url.host, url.port), timeout=30) as connection:
        connection.sendall(head.encode() + begun)
        assert waited_for(lambda: files() != before)  # Gradio writes as it reads
    assert waited_for(lambda: files() == before)


def waited_for(happened) -> bool:
    for _ in range(300):
        if happened():
            return True
        time.sleep(0.05)
    return False


def test_uploads_that_nobody_asks_about_are_forgotten(page, monkeypatch):
    monkeypatch.setattr(upload_parser, "MAX_TRACKED", 5)
    progress = routes.file_upload_statuses
    assert isinstance(progress, UploadProgress)
    for number in range(20):
        assert upload(page, f"?upload_id=a{number}", files={"files": b"x"}).status_code == 200

    async def ask() -> None:
        for number in range(20):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(progress.is_tracked(f"b{number}"), 0.001)

    asyncio.run(ask())
    assert len(progress._statuses) <= 5 and len(progress._signals) <= 6


def test_uploads_leave_room_on_the_disk(page, monkeypatch):
    monkeypatch.setattr(uploads, "MIN_FREE_BYTES", 1 << 60)
    before = files()
    answer = upload(page, files={"files": b"x"})
    assert answer.status_code == 507 and "full" in answer.json()["detail"] and files() == before


def test_one_address_cannot_fill_the_disk_and_others_still_upload(monkeypatch):
    monkeypatch.setattr(request_guard, "UPLOADED_BYTES", 1000)
    with served(saying("Hi.", fake_processor())) as demo:
        of = [{"x-forwarded-for": address} for address in ("192.0.2.7", "192.0.2.8")]
        assert [upload(demo, headers=of[0], files={"files": b"x" * 500}).status_code for _ in range(2)] == [200, 429]
        assert upload(demo, headers=of[1], files={"files": b"x" * 500}).status_code == 200
