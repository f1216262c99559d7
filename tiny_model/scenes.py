"""Scenes of coloured shapes: what the practice model was trained on, and what it can be asked about.

Here: the colours and shapes by name, where a shape may stand, how it is drawn, and random scenes and videos.
Not here: questions and answers (`questions`), the model.

    draw([Shape("circle", "red", x=0.5, y=0.5, r=0.2)])  # a red circle in the middle of a white picture

Positions are fractions of the picture: x of its width, y of its height, r of its shorter side. (x, y) is the middle
of the shape's bounding box, so "where" and "locate" speak of the same point.
"""

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from PIL import Image, ImageDraw

SHAPES = ("circle", "square", "triangle", "star")
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 220),
    "yellow": (240, 210, 40),
    "purple": (140, 60, 180),
    "orange": (245, 140, 30),
    "black": (20, 20, 20),
    "white": (250, 250, 250),
}
CSS_COLOURS = {  # what drawing programs offer under these names
    "red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0), "purple": (128, 0, 128),
    "orange": (255, 165, 0),
}  # fmt: skip
BACKGROUNDS = {"white": (250, 250, 250), "gray": (150, 150, 150), "black": (20, 20, 20), "pink": (250, 190, 205)}
DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}
MOVED_BY = 0.4  # of the picture's side, from the first to the last frame of a video
MAX_SHAPES = 4

# Half the bounding box of each shape as a share of its r, so that all of them fit in the same circle or nearly so.
HALF_EXTENTS = {"circle": (1.0, 1.0), "square": (0.88, 0.88), "triangle": (1.0, 0.87), "star": (1.0, 0.95)}
ZONE_MARGIN = 0.04  # a middle this near to the border between two ninths could be named either way: not drawn at random
SUPERSAMPLE = 2  # drawn so many times larger, then reduced: smooth edges
MAX_TRIES = 80  # to find room for another shape


@dataclass(frozen=True)
class Shape:
    """One drawn shape, such as Shape("circle", "red", x=0.2, y=0.25, r=0.17).

    kind: one of SHAPES. colour: one of COLOURS. x, y, r: fractions of the picture (see the module's docstring).
    """

    kind: str
    colour: str
    x: float
    y: float
    r: float

    @property
    def name(self) -> str:
        """As answers call it: "red circle"."""
        return f"{self.colour} {self.kind}"


@dataclass(frozen=True)
class Scene:
    """A picture and what is on it. `shapes` is in the order of COLOURS, then of SHAPES: the order of a description."""

    image: Image.Image
    shapes: tuple[Shape, ...]
    background: str


class Video(NamedTuple):
    """Frames in which `mover` goes in `direction` from where it is given; `others` stand still."""

    frames: list[Image.Image]
    mover: Shape
    direction: str
    others: tuple[Shape, ...]
    background: str


def zone(shape: Shape) -> tuple[int, int]:
    """(row, column) of the shape's middle in a 3 × 3 division of the picture."""
    return min(2, int(shape.y * 3)), min(2, int(shape.x * 3))


def box(shape: Shape, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The shape's bounding box (x1, y1, x2, y2) in pixels of a picture of `size` (width, height)."""
    width, height = size
    half_width, half_height = (extent * shape.r * min(size) for extent in HALF_EXTENTS[shape.kind])
    x, y = shape.x * width, shape.y * height
    return x - half_width, y - half_height, x + half_width, y + half_height


# ---- drawing --------------------------------------------------------------------------------------------------------


def draw(shapes: Iterable[Shape], background: str = "white", size=(224, 224), tints: dict | None = None) -> Image.Image:
    """An RGB picture of `shapes` on a plain background.

    background: one of BACKGROUNDS. size: (width, height) in pixels. tints: RGB to use for a colour's name instead of
    the one in COLOURS or, under the key ("background", name), in BACKGROUNDS. Raises KeyError for a colour, background
    or shape that is not in the lists above.
    """
    tints = tints or {}
    large = (size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE)
    image = Image.new("RGB", large, tints.get(("background", background), BACKGROUNDS[background]))
    canvas = ImageDraw.Draw(image)
    for shape in shapes:
        fill = tints.get(shape.colour, COLOURS[shape.colour])
        corners = box(shape, large)
        if shape.kind == "circle":
            canvas.ellipse(corners, fill=fill)
        else:
            canvas.polygon(_scaled(_outline(shape.kind), corners), fill=fill)
    return image.resize(size, Image.Resampling.BOX)


def _outline(kind: str) -> list[tuple[float, float]]:
    """Corner points of a polygon, scaled to fill [-1, 1] × [-1, 1]."""
    if kind == "square":
        return [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    if kind == "triangle":
        return [(0, -1), (1, 1), (-1, 1)]
    points = []
    for number in range(10):  # a star: outer and inner points in turn
        angle = math.pi * number / 5
        radius = 0.42 if number % 2 else 1
        points.append((radius * math.sin(angle), -radius * math.cos(angle)))
    widest = max(x for x, _ in points)
    top = min(y for _, y in points)
    bottom = max(y for _, y in points)
    return [(x / widest, 2 * (y - top) / (bottom - top) - 1) for x, y in points]


def _scaled(outline: list[tuple[float, float]], corners) -> list[tuple[float, float]]:
    """An outline of [-1, 1] × [-1, 1], stretched to fill a box."""
    x1, y1, x2, y2 = corners
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    half_width, half_height = (x2 - x1) / 2, (y2 - y1) / 2
    return [(middle_x + half_width * u, middle_y + half_height * v) for u, v in outline]


def draw_video(shape, direction: str, others=(), background="white", size=(168, 168), frames=8) -> list[Image.Image]:
    """A list of `frames` RGB pictures in which `shape` moves by MOVED_BY towards `direction`; `others` stand still.

    draw_video(Shape("square", "green", x=0.25, y=0.5, r=0.18), "right")
    """
    steps = [MOVED_BY * number / max(1, frames - 1) for number in range(frames)]
    return [draw([*others, _moved_by(shape, direction, step)], background, size) for step in steps]


def way_points(shape: Shape, direction: str, slices: int) -> list[Shape]:
    """Where `shape` is in each of `slices` pairs of frames of `draw_video`, halfway between the two."""
    last = 2 * slices - 1
    steps = [MOVED_BY * (2 * number + 0.5) / last for number in range(slices)]
    return [_moved_by(shape, direction, step) for step in steps]


def _moved_by(shape: Shape, direction: str, step: float) -> Shape:
    dx, dy = DIRECTIONS[direction]
    return replace(shape, x=shape.x + dx * step, y=shape.y + dy * step)


# ---- random scenes: the order of the draws decides what a seed gives, and must stay ----------------------------------


def sample_tints(rng: random.Random) -> dict:
    """A random tint for every colour (within 20 of 255) and background (within 10): nobody's red is exactly ours.

    In a quarter of the pictures the tints are around CSS_COLOURS.
    """
    colours = COLOURS | (CSS_COLOURS if rng.random() < 0.25 else {})

    def vary(rgb: tuple[int, int, int], by: int) -> tuple[int, ...]:
        return tuple(max(0, min(255, value + rng.randint(-by, by))) for value in rgb)

    tints: dict = {name: vary(rgb, 20) for name, rgb in colours.items()}
    for name, rgb in BACKGROUNDS.items():
        tints["background", name] = vary(rgb, 10)
    return tints


def sample_shapes(rng: random.Random, count: int, background: str, aspect: float) -> tuple[Shape, ...]:
    """Up to `count` shapes, no two alike or touching, that fit a picture of width/height `aspect`, in Scene's order."""
    width, height = max(1.0, aspect), max(1.0, 1 / aspect)  # in units of the shorter side
    shapes: list[Shape] = []
    for _ in range(MAX_TRIES):
        if len(shapes) == count:
            break
        r = rng.uniform(0.12, 0.22)
        x = rng.uniform(r + 0.02, width - r - 0.02)
        y = rng.uniform(r + 0.02, height - r - 0.02)
        kind = rng.choice(SHAPES)
        colour = rng.choice([name for name in COLOURS if name != background])
        touches = any(math.hypot(x - s.x * width, y - s.y * height) < r + s.r + 0.04 for s in shapes)
        has_twin = any((s.kind, s.colour) == (kind, colour) for s in shapes)
        if touches or has_twin:
            continue
        if _clear_of_zone_borders(x / width) and _clear_of_zone_borders(y / height):
            shapes.append(Shape(kind, colour, x / width, y / height, r))
    return tuple(sorted(shapes, key=lambda s: (list(COLOURS).index(s.colour), SHAPES.index(s.kind))))


def _clear_of_zone_borders(fraction: float) -> bool:
    return min(abs(fraction - 1 / 3), abs(fraction - 2 / 3)) > ZONE_MARGIN


def sample_scene(rng: random.Random, size: tuple[int, int] | None = None, count: int | None = None) -> Scene:
    """A random scene. size: (width, height) in pixels, 112 to 336 a side if not given. count: of shapes wanted, one to
    MAX_SHAPES if not given; there are fewer where no room is found.
    """
    size = size or (rng.randint(112, 336), rng.randint(112, 336))
    background = rng.choice(list(BACKGROUNDS))
    shapes = sample_shapes(rng, count or rng.randint(1, MAX_SHAPES), background, size[0] / size[1])
    return Scene(draw(shapes, background, size, sample_tints(rng)), shapes, background)


def sample_video(rng: random.Random, size: tuple[int, int] = (112, 112), frames: int = 8) -> Video:
    """A random video of one moving shape and at most one that stands still, away from the first one's path."""
    background = rng.choice(list(BACKGROUNDS))
    direction = rng.choice(list(DIRECTIONS))
    shapes = list(sample_shapes(rng, rng.randint(1, 2), background, size[0] / size[1]))
    rng.shuffle(shapes)
    mover = shapes[0]
    dx, dy = DIRECTIONS[direction]  # one of them is 0
    start = rng.uniform(mover.r + 0.02, 0.58 - mover.r)  # MOVED_BY later, it is as far from the other side
    start = start if dx + dy > 0 else 1 - start
    mover = replace(mover, x=start) if dx else replace(mover, y=start)

    def is_clear_of_the_path(other: Shape) -> bool:
        distance = other.y - mover.y if dx else other.x - mover.x
        return abs(distance) > other.r + mover.r + 0.02

    others = tuple(filter(is_clear_of_the_path, shapes[1:]))
    return Video(draw_video(mover, direction, others, background, size, frames), mover, direction, others, background)
