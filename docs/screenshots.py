"""Write the README's pictures of the chat page, docs/page.png and docs/phone.png, from the running page:
`make screenshots`, or from the repository's root

    .venv/bin/python -m docs.screenshots

Here: a visitor in headless Chromium who clicks an example and waits for the answer. Not here: the page
(`gradio_helper`), starting Chromium (`tests.chromium`). Needs requirements-test.txt and Chromium.
"""

import sys
from pathlib import Path

from tests.chromium import chromium

FOLDER = Path(__file__).resolve().parent
DESKTOP = {"viewport": {"width": 960, "height": 1240}}
PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "device_scale_factor": 2}
TIMEOUT_MS = 60_000
ANIMATION_MS = 1500  # the page's own, after an answer


def main() -> int:
    from catalog.open import open_model
    from cmd_helper import export_if_needed
    from gradio_helper import make_demo

    page = make_demo(*open_model(export_if_needed(None), "CPU"))
    page.launch(prevent_thread_lock=True, quiet=True)
    try:
        with chromium() as browser:
            photograph(browser, page.local_url, FOLDER / "page.png", "Locate the blue star.", DESKTOP)
            photograph(browser, page.local_url, FOLDER / "phone.png", "Describe this image.", PHONE)
    finally:
        page.close()
    return 0


def photograph(browser, address: str, target: Path, example: str, settings: dict) -> None:
    """Writes to `target` what the page at `address` looks like when the example has been clicked and answered.

    settings: of the browser tab.
    """
    tab = browser.new_page(**settings)
    tab.set_default_timeout(TIMEOUT_MS)
    tab.goto(address)
    tab.get_by_text(example, exact=True).click()
    tab.get_by_text("first word").wait_for()
    tab.wait_for_timeout(ANIMATION_MS)
    tab.screenshot(path=target)
    print(f"Written: docs/{target.name}")


if __name__ == "__main__":
    sys.exit(main())
