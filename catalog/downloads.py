"""`download_file`: one file from the web, whole or not at all. Models are downloaded by `catalog/hub.py`.

    path = download_file("https://example.org/demo.jpeg", directory="build")  # build/demo.jpeg
"""

import os
import secrets
from pathlib import Path
from urllib.parse import unquote, urlsplit

from export.progress import ProgressDisplay, make_display

TIMEOUT_S = (10, 30)  # to connect, and between two pieces of the answer
CHUNK_BYTES = 1 << 16


class DownloadError(RuntimeError):
    """A file that could not be fetched; the message says why, and where to put it by hand."""


def download_file(url: str, filename: str | None = None, directory=None) -> Path:
    """Downloads `url` to `directory`/`filename`, showing progress, and returns the path.

    filename: a plain name, by default the last part of the address. directory: made where missing; by default the
    current one. A file that is there already is not downloaded again. Raises DownloadError, and leaves no part behind.
    """
    target = Path(directory or ".") / plain_name(url, filename)
    if target.exists():
        return target
    part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")  # another process may be at the same file
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fetch(url, part, target.name, make_display())
        os.replace(part, target)
    except OSError as error:  # requests' own errors are OSErrors too
        raise DownloadError(f"Could not download {url}: {reason(error)}. Check the network, or save the file as "
                            f"{target} yourself: it is then used as it is.") from error
    finally:
        part.unlink(missing_ok=True)
    return target


def plain_name(url: str, filename: str | None) -> str:
    """The file name to use; refuses one with folders in it, and addresses that are not of the web."""
    address = urlsplit(url)
    if address.scheme not in ("http", "https"):
        raise DownloadError(f"{url!r} is not a web address; it should begin with https://.")
    name = filename or unquote(address.path).rpartition("/")[2]
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        raise DownloadError(f"{name!r} is not a plain file name; pass one as filename= and its folder as directory=.")
    return name


def fetch(url: str, part: Path, name: str, display: ProgressDisplay) -> None:
    """Streams `url` to `part`, which will be `name`; raises OSError when the answer is an error or breaks off."""
    import requests

    with requests.get(url, stream=True, timeout=TIMEOUT_S) as response, part.open("wb") as file:
        response.raise_for_status()
        encoded = "Content-Encoding" in response.headers  # then the announced length is not the file's
        total = 0 if encoded else int(response.headers.get("Content-Length", 0))
        for chunk in response.iter_content(CHUNK_BYTES):
            file.write(chunk)
            display.progress(progress_line(name, file.tell(), total))
        if total and file.tell() != total:
            raise OSError(f"only {file.tell()} of {total} bytes came")
        file.flush()
        os.fsync(file.fileno())  # else, after a power cut, the file may be there under its name and be empty
    display.close(f"Downloaded {name}")


def progress_line(name: str, done: int, total: int) -> str:
    """How many of how many bytes have come; `total` is 0 where the server does not say."""
    if not total:
        return f"{name}: {done / 1e6:.1f} MB"
    return f"{name}: {done / 1e6:.1f} of {total / 1e6:.1f} MB, {done * 100 // total}%"


def reason(error: OSError) -> str:
    """Why, without the library's object addresses and repeated address."""
    import requests

    if isinstance(error, requests.HTTPError):
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.ConnectionError):
        return "the server cannot be reached"
    return str(error)
