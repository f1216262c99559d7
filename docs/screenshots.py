"""Write the README's pictures of the chat page, docs/page.png and docs/phone.png: `make screenshots`, or from the
repository's root

    .venv/bin/python -m docs.screenshots

The page is the real one, in headless Chromium. Its answer is written by hand, for a drawing whose shapes and places are
known: it has the table, the formula and the boxes that models of 2B and more give, without a download of 4 GB. The page
says so where it names the model.

Here: a visitor who adds the drawing, asks and waits. Not here: the page (`gradio_helper`), the session that streams
written answers (`tests.written_answers`), starting Chromium (`tests.chromium`). Needs requirements-test.txt and
Chromium.
"""

import math
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from tests.chromium import chromium

FOLDER = Path(__file__).resolve().parent
DESKTOP = {"viewport": {"width": 1280, "height": 1120}, "color_scheme": "light"}
PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "device_scale_factor": 2}
TIMEOUT_MS = 60_000
ANIMATION_MS = 1500  # the page's own, after an answer
MODEL = "Answers written by hand, for this picture"
QUESTION = "Which shapes are there, how large is the circle, and where are they?"
SIZE = (640, 300)
ANSWER = """\
| Shape | Colour | Where |
|:--|:--|:--|
| circle | red | left |
| star | blue | right |

The circle has a radius of $r = {radius:.0f}$ pixels, so it covers

$$A = \\pi r^2 \\approx {area:.0f}\\ \\text{{pixels}}$$

{boxes}
"""


def main() -> int:
    from gradio_helper import make_demo
    from tests.written_answers import WrittenSession

    session = WrittenSession(pace=0.02)
    model = SimpleNamespace(model_save_dir=FOLDER / MODEL)
    with tempfile.TemporaryDirectory() as folder:
        drawing = Path(folder, "shapes.png")
        session.answers[QUESTION] = draw_and_describe(drawing)
        page = make_demo(model, session.processor, session=session)
        page.launch(prevent_thread_lock=True, quiet=True)
        try:
            with chromium() as browser:
                photograph(browser, page.local_url, FOLDER / "page.png", drawing, DESKTOP)
                photograph(browser, page.local_url, FOLDER / "phone.png", drawing, PHONE)
        finally:
            page.close()
    return 0


def draw_and_describe(target: Path) -> str:
    """Writes a drawing to `target`; returns what is true of it, with boxes as Qwen2-VL writes them."""
    from tiny_model.scenes import Shape, box, draw

    shapes = Shape("circle", "red", 0.24, 0.52, 0.34), Shape("star", "blue", 0.74, 0.5, 0.36)
    draw(shapes, size=SIZE).save(target)
    boxes = []
    for shape in shapes:
        x1, y1, x2, y2 = (round(1000 * at / side) for at, side in zip(box(shape, SIZE), SIZE * 2, strict=True))
        boxes.append(f"{shape.name}({x1},{y1}),({x2},{y2})")
    radius = shapes[0].r * min(SIZE)
    return ANSWER.format(radius=radius, area=math.pi * radius**2, boxes="\n".join(boxes))


def photograph(browser, address: str, target: Path, picture: Path, settings: dict) -> None:
    """Writes to `target` what the page at `address` looks like when QUESTION about `picture` has been answered.

    settings: of the browser tab.
    """
    tab = browser.new_page(**settings)
    tab.set_default_timeout(TIMEOUT_MS)
    tab.goto(address)
    tab.locator("#question input[type=file]").set_input_files(picture)
    tab.locator(".thumbnail-item").wait_for()
    question = tab.get_by_placeholder("Ask about a picture")
    question.fill(QUESTION)
    question.press("Enter")
    tab.get_by_text("first word").wait_for()
    tab.locator(".bot-row .picture").scroll_into_view_if_needed()
    tab.wait_for_timeout(ANIMATION_MS)
    tab.screenshot(path=target)
    print(f"Written: docs/{target.name}")


if __name__ == "__main__":
    sys.exit(main())
