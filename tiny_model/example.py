"""`example_for`: a picture, and questions about it that the chosen model can answer.

Not here: questions that the page begins with (`chat_page.examples`).
"""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from adapters.qwen_vl import is_practice_model
from catalog.downloads import DownloadError, download_file
from session.media import load_image
from tiny_model.scenes import Shape, draw

PHOTOGRAPH = "https://qianwen-res.oss-cn-beijing.aliyuncs.com/Qwen-VL/assets/demo.jpeg"  # of Qwen's own examples
CAT = Path(__file__).resolve().parent.parent / "figures" / "cat.jpg"  # by Stéfan van der Walt, CC0


@dataclass(frozen=True)
class Example:
    """image: upright, RGB. question: about all of it; follow_up: about one thing in it; thing: what to ask a box of."""

    image: Image.Image
    question: str
    follow_up: str
    thing: str


def example_for(config) -> Example:
    """An example for the model with this config: drawn shapes for the practice model, otherwise a photograph, which is
    downloaded into build/; without a network, the cat beside this file.
    """
    if is_practice_model(config):
        shapes = [Shape("circle", "red", x=0.2, y=0.25, r=0.17), Shape("star", "blue", x=0.8, y=0.75, r=0.2)]
        return Example(draw(shapes, size=(336, 224)), "Describe this image.", "What shape is red?", "red circle")
    try:
        photograph = download_file(PHOTOGRAPH, directory="build")
    except DownloadError:
        photograph = CAT
    return Example(load_image(photograph), "Describe this image.", "Which animal is in the picture?", "animal")
