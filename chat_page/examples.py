"""Questions to begin with, which work on the model at hand: about drawings for the practice model, about a photo else.

Here: their words and pictures. Not here: what happens when one is clicked (`chat_page.question_handlers`).
"""

from pathlib import Path

from adapters.gradio_internals import get_upload_folder, save_file_to_cache, save_pil_to_cache
from chat_page.header import is_practice

CAT = Path(__file__).resolve().parent.parent / "figures" / "cat.jpg"
DRAWING_SIZE = (336, 224)


def example_questions(model) -> list[dict]:
    """Values of the input box, [{"text": str, "files": [path]}], with files in Gradio's upload folder."""
    if is_practice(model):
        return _about_drawings()
    cat = save_file_to_cache(CAT, cache_dir=get_upload_folder())
    return [
        {"text": "Describe this photo in one sentence.", "files": [cat]},
        {"text": "What colour are the cat's eyes?", "files": [cat]},
        {"text": "Write a short poem about this cat.", "files": [cat]},
    ]


def _about_drawings() -> list[dict]:
    from tiny_model.scenes import Shape  # imported here, so that nothing is drawn for other models

    circle_and_star = _drawing(Shape("circle", "red", 0.2, 0.25, 0.17), Shape("star", "blue", 0.8, 0.75, 0.2))
    three = _drawing(
        Shape("square", "green", 0.2, 0.5, 0.16), Shape("triangle", "orange", 0.5, 0.5, 0.16),
        Shape("circle", "purple", 0.8, 0.5, 0.16),
    )  # fmt: skip
    return [
        {"text": "Describe this image.", "files": [circle_and_star]},
        {"text": "Locate the blue star.", "files": [circle_and_star]},
        {"text": "How many shapes are there?", "files": [three]},
        {"text": "Which picture has a green square?", "files": [circle_and_star, three]},
    ]


def _drawing(*shapes) -> str:
    from tiny_model.scenes import draw

    return save_pil_to_cache(draw(shapes, size=DRAWING_SIZE), get_upload_folder(), name="drawing", format="png")
