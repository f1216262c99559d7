"""Write docs/page.png, the README's picture of the chat page, from the running page: `make screenshot`.

    .venv/bin/python docs/screenshot.py

Lives here: a visitor in headless Chromium who uploads a drawn scene, asks and waits for the answer.
Does not: the page (gradio_helper.py), starting a model (tasks/demo.py). Needs requirements-test.txt and Chromium.
"""

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, the helpers lie one above
PICTURE = ROOT / "build" / "scene.png"
SIZE = {"width": 1000, "height": 860}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PATIENCE_MS = 60_000


def draw_scene() -> None:
    from tiny_model.scenes import Shape, draw

    PICTURE.parent.mkdir(exist_ok=True)
    shapes = [Shape("circle", "red", 0.2, 0.25, 0.17), Shape("star", "blue", 0.8, 0.75, 0.2)]
    draw(shapes, size=(336, 224)).save(PICTURE)


def photograph(address: str, path: Path) -> None:
    """Ask the page at `address` two questions about the scene and save what a visitor then sees."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), headless=True, args=FLAGS)
        tab = browser.new_page(viewport=SIZE)
        tab.set_default_timeout(PATIENCE_MS)
        tab.goto(address)
        tab.locator("input[type=file]").first.set_input_files(str(PICTURE))
        tab.locator(".thumbnails").get_by_role("button", name="Remove").first.wait_for()
        for count, question in enumerate(("What shape is red?", "Where is it?"), 1):
            tab.get_by_placeholder("Ask about a picture").fill(question)
            tab.get_by_text("Submit", exact=True).click()
            tab.get_by_test_id("bot").nth(count - 1).get_by_text(".").first.wait_for()
        tab.wait_for_timeout(1500)  # the last words, and the page's own fading
        tab.screenshot(path=path)
        browser.close()


def main() -> int:
    from tasks.demo import find, load

    draw_scene()
    model, processor = load(*find(None), "CPU")
    from gradio_helper import make_demo

    page = make_demo(model, processor)
    page.launch(prevent_thread_lock=True, quiet=True)
    target = ROOT / "docs" / "page.png"
    target.parent.mkdir(exist_ok=True)
    photograph(page.local_url, target)
    page.close()
    print(f"Written: {target.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
