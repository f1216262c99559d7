"""Write the README's pictures of the chat page, docs/page.png and docs/phone.png, from the running page:
`make screenshots`.

    .venv/bin/python docs/screenshots.py

Lives here: a visitor in headless Chromium who clicks an example and waits for the answer.
Does not: the page (gradio_helper.py), starting a model (tasks/demo.py). Needs requirements-test.txt and Chromium.
"""

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, the helpers lie one above
DESKTOP = {"viewport": {"width": 960, "height": 1240}}
PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "device_scale_factor": 2}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PATIENCE_MS = 60_000
FADING_MS = 1500  # the page's own animations


def desktop(tab) -> None:
    """An example with boxes."""
    tab.get_by_text("Locate the blue star.", exact=True).click()
    tab.get_by_text("First word after").wait_for()


def phone(tab) -> None:
    tab.get_by_text("Describe this image.", exact=True).click()
    tab.get_by_text("First word after").wait_for()


def photograph(browser, address: str, target: Path, visit, settings: dict) -> None:
    tab = browser.new_page(**settings)
    tab.set_default_timeout(PATIENCE_MS)
    tab.goto(address)
    visit(tab)
    tab.wait_for_timeout(FADING_MS)
    tab.screenshot(path=target)
    print(f"Written: {target.relative_to(ROOT)}")


def main() -> int:
    from playwright.sync_api import sync_playwright

    from gradio_helper import make_demo
    from tasks.demo import find, load

    page = make_demo(*load(*find(None), "CPU"))
    page.launch(prevent_thread_lock=True, quiet=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), headless=True, args=FLAGS)
        photograph(browser, page.local_url, ROOT / "docs" / "page.png", desktop, DESKTOP)
        photograph(browser, page.local_url, ROOT / "docs" / "phone.png", phone, PHONE)
        browser.close()
    page.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
