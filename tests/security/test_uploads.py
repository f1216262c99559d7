"""What visitors upload lies in a folder of our own, and goes after a day, also where the page crashed before."""

import os
import stat
import tempfile
import time

import pytest

from adapters import uploads
from adapters.uploads import delete_old, use_own_folder
from chat_page.theme import MAX_FILE_AGE_S
from tests.fake_model import fake_processor, saying
from tests.test_gradio_helper import page_of

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
