"""Headless Chromium, as the tests of the page and `docs.screenshots` start it: the one that the system has.

Not here: what a visitor does in it (tests/test_page_browser.py).
"""

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",  # no other machine is found
]  # fmt: skip
NOT_INSTALLED = "Chromium is not installed. Install it (apt install chromium)."


def chromium_path() -> str | None:
    """Where the system has Chromium; None where it has none. Playwright's own would have to be downloaded."""
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return path
    return None


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser for the length of a `with`. Raises FileNotFoundError where there is no Chromium."""
    path = chromium_path()
    if path is None:
        raise FileNotFoundError(NOT_INSTALLED)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield browser
        browser.close()
