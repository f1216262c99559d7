"""`catalog.downloads`: one file from a web server on the loopback address, whole or not at all."""

import re
import threading
import time

import pytest

from catalog import downloads
from catalog.downloads import DownloadError, download_file
from tests.loopback import answer_with, servers


@pytest.fixture
def server():
    with servers() as server:
        yield server


def test_a_file_is_downloaded_once(server, tmp_path, capsys):
    url = server(answer_with(b"x" * 200_000)) + "/pictures/demo%20one.jpeg?size=large"
    path = download_file(url, directory=tmp_path / "new folder")
    assert path == tmp_path / "new folder" / "demo one.jpeg"
    assert path.read_bytes() == b"x" * 200_000
    assert "demo one.jpeg: 0.2 of 0.2 MB, 100%" in capsys.readouterr().out
    download_file(url, directory=tmp_path / "new folder")
    assert len(server.seen) == 1


def test_the_file_name_can_be_chosen(server, tmp_path):
    assert download_file(server(answer_with(b"x")) + "/", "mine.bin", tmp_path) == tmp_path / "mine.bin"


def test_a_download_that_breaks_off_leaves_nothing(server, tmp_path):
    url = server(answer_with(b"half", Content_Length=8)) + "/file"
    with pytest.raises(DownloadError, match=re.escape(f"save the file as {tmp_path / 'file'} yourself")):
        download_file(url, directory=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_part_is_a_part_until_it_is_whole(server, tmp_path):
    """The server holds back the second half until it has seen what the first half was written to."""
    there = []

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "200000")
        handler.end_headers()
        handler.wfile.write(b"x" * 100_000)
        deadline = time.monotonic() + 30
        while not any(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.02)
        there.extend(path.name for path in tmp_path.iterdir())
        handler.wfile.write(b"x" * 100_000)

    download_file(server(answer) + "/file", directory=tmp_path)
    (part,) = there
    assert re.fullmatch(r"file\.[0-9a-f]{8}\.part", part)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_two_downloads_of_one_file_at_once_do_not_mix(server, tmp_path):
    """Each answer is all of one letter, and comes in halves that alternate with the other's."""
    both, letters = threading.Barrier(2), iter("ab")

    def answer(handler):
        letter = next(letters).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", "200000")
        handler.end_headers()
        for _ in range(2):
            both.wait(30)
            handler.wfile.write(letter * 100_000)
            handler.wfile.flush()

    url = server(answer) + "/file"
    threads = [threading.Thread(target=download_file, args=(url,), kwargs={"directory": tmp_path}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file").read_bytes() in (b"a" * 200_000, b"b" * 200_000)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_compressed_answer_is_whole_although_its_length_is_not_the_files(server, tmp_path):
    import gzip

    squeezed = gzip.compress(b"x" * 10_000)
    url = server(answer_with(squeezed, Content_Encoding="gzip")) + "/file"
    assert download_file(url, directory=tmp_path).stat().st_size == 10_000


def test_an_answer_that_is_an_error_is_told_in_one_line(server, tmp_path):
    with pytest.raises(DownloadError, match="the server answered 404 Not Found") as caught:
        download_file(server(answer_with(b"<html>", 404)) + "/file", directory=tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_offline_the_error_says_where_to_put_the_file(tmp_path):
    with pytest.raises(DownloadError, match=r"the server cannot be reached.*Check the network, or save") as caught:
        download_file("http://127.0.0.1:9/file", directory=tmp_path)
    assert "object at 0x" not in str(caught.value)


def test_a_server_that_says_nothing_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT_S", (5, 0.2))
    silence = threading.Event()
    with pytest.raises(DownloadError, match="did not answer in time"):
        download_file(server(lambda handler: silence.wait(30)) + "/file", directory=tmp_path)
    silence.set()


@pytest.mark.parametrize(("url", "name"), [
    ("file:///etc/passwd", None), ("demo.jpeg", None), ("http://127.0.0.1:9/", None), ("http://127.0.0.1:9/a", "../b"),
    ("http://127.0.0.1:9/..%2Fevil", None), ("http://127.0.0.1:9/a%5Cb", None), ("http://127.0.0.1:9/a", ".."),
])
def test_odd_addresses_and_names_are_refused(tmp_path, url, name):
    with pytest.raises(DownloadError, match=r"not a web address|cannot be reached|not a plain file name"):
        download_file(url, name, tmp_path / "inside")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
