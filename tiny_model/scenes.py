"""Scenes of coloured shapes: what the embedded model was trained on, and what it can be asked about.

Here: the words and colours, where a shape may stand, how it is drawn, and random scenes, videos and distractors.
Not here: questions and answers (`questions.py`), the model (`model.py`).

Positions are fractions of the picture: x of its width, y of its height, r of its shorter side. (x, y) is the middle
of the shape's bounding box, so "where" and "locate" speak of the same point.
"""

import math
import random
from dataclasses import dataclass, replace

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
PAINTBOX = {  # CSS' colours of these names
    "red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0), "purple": (128, 0, 128),
    "orange": (255, 165, 0),
}  # fmt: skip
BACKGROUNDS = {"white": (250, 250, 250), "gray": (150, 150, 150), "black": (20, 20, 20), "pink": (250, 190, 205)}
DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}
MAX_SHAPES = 4

# Half the bounding box of each shape as a share of its r, so that all of them fit in the same circle or nearly so.
HALF_EXTENTS = {"circle": (1.0, 1.0), "square": (0.88, 0.88), "triangle": (1.0, 0.87), "star": (1.0, 0.95)}
ZONE_MARGIN = 0.04  # a centre this near to the border between two ninths could be named either way: not drawn at random
SUPERSAMPLE = 2


@dataclass(frozen=True)
class Shape:
    """One drawn shape; x, y, r are fractions (see the module docstring)."""

    kind: str
    colour: str
    x: float
    y: float
    r: float

    @property
    def name(self) -> str:
        return f"{self.colour} {self.kind}"


@dataclass(frozen=True)
class Scene:
    """A picture and what is on it. `shapes` is in the order of COLOURS, then of SHAPES: the order of a description."""

    image: Image.Image
    shapes: tuple[Shape, ...]
    background: str


def zone(shape: Shape) -> tuple[int, int]:
    """(row, column) of the shape's middle in a 3×3 division of the picture."""
    return min(2, int(shape.y * 3)), min(2, int(shape.x * 3))


def box(shape: Shape, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Bounding box (x1, y1, x2, y2) in pixels of a picture of `size` (width, height)."""
    width, height = size
    half_w, half_h = (e * shape.r * min(size) for e in HALF_EXTENTS[shape.kind])
    return shape.x * width - half_w, shape.y * height - half_h, shape.x * width + half_w, shape.y * height + half_h


def _outline(kind: str) -> list[tuple[float, float]]:
    """Corner points of a polygon, scaled to fill [-1, 1] × [-1, 1]."""
    if kind == "square":
        return [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    if kind == "triangle":
        return [(0, -1), (1, 1), (-1, 1)]
    angles = [math.pi * i / 5 for i in range(10)]
    points = [
        ((0.42 if i % 2 else 1) * math.sin(a), (-0.42 if i % 2 else -1) * math.cos(a)) for i, a in enumerate(angles)
    ]
    widest, top, bottom = max(x for x, _ in points), min(y for _, y in points), max(y for _, y in points)
    return [(x / widest, 2 * (y - top) / (bottom - top) - 1) for x, y in points]


def draw(shapes, background: str = "white", size=(224, 224), tints: dict | None = None) -> Image.Image:
    """Draw shapes on a plain background.

    shapes: iterable of Shape. size: (width, height) in pixels. tints: RGB to use for a colour name instead of the
    one in COLOURS or BACKGROUNDS (key ("background", name) for the latter). Returns an RGB picture.
    Raises KeyError for a colour, background or shape that is not in the lists above.
    """
    tints = tints or {}
    width, height = size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE
    image = Image.new("RGB", (width, height), tints.get(("background", background), BACKGROUNDS[background]))
    canvas = ImageDraw.Draw(image)
    for shape in shapes:
        fill = tints.get(shape.colour, COLOURS[shape.colour])
        x1, y1, x2, y2 = box(shape, (width, height))
        if shape.kind == "circle":
            canvas.ellipse((x1, y1, x2, y2), fill=fill)
        else:
            middle, half = ((x1 + x2) / 2, (y1 + y2) / 2), ((x2 - x1) / 2, (y2 - y1) / 2)
            canvas.polygon(
                [(middle[0] + half[0] * u, middle[1] + half[1] * v) for u, v in _outline(shape.kind)], fill=fill
            )
    return image.resize(size, Image.Resampling.BOX)


def draw_video(shape, direction: str, others=(), background="white", size=(168, 168), frames=8) -> list[Image.Image]:
    """A list of `frames` RGB pictures in which `shape` moves by 0.4 of the picture towards `direction`, `others`
    stand still.
    """
    dx, dy = DIRECTIONS[direction]
    steps = [0.4 * i / max(1, frames - 1) for i in range(frames)]
    return [draw([*others, replace(shape, x=shape.x + dx * s, y=shape.y + dy * s)], background, size) for s in steps]


def moved(shape: Shape, direction: str, slices: int) -> list[Shape]:
    """Where `shape` is in each of `slices` pairs of frames of `draw_video`, halfway between the two."""
    (dx, dy), last = DIRECTIONS[direction], 2 * slices - 1
    steps = [0.4 * (2 * i + 0.5) / last for i in range(slices)]
    return [replace(shape, x=shape.x + dx * s, y=shape.y + dy * s) for s in steps]


def tinted(rng: random.Random) -> dict:
    """A random tint for every colour (within 20 of 255) and background (within 10): nobody's red is exactly ours.

    In a quarter of the pictures the tints are around the colours that drawing programs offer under these names.
    """
    colours = COLOURS | (PAINTBOX if rng.random() < 0.25 else {})

    def vary(rgb, by):
        return tuple(max(0, min(255, v + rng.randint(-by, by))) for v in rgb)

    return {c: vary(rgb, 20) for c, rgb in colours.items()} | {
        ("background", b): vary(rgb, 10) for b, rgb in BACKGROUNDS.items()
    }


def _clear_of_zone_borders(v: float) -> bool:
    return min(abs(v - 1 / 3), abs(v - 2 / 3)) > ZONE_MARGIN


def sample_shapes(rng: random.Random, count: int, background: str, aspect: float) -> tuple[Shape, ...]:
    """Up to `count` shapes, no two alike or touching, that fit a picture of width/height `aspect`, in Scene's order."""
    width, height = max(1.0, aspect), max(1.0, 1 / aspect)  # in units of the shorter side
    shapes: list[Shape] = []
    for _ in range(80):
        if len(shapes) == count:
            break
        r = rng.uniform(0.12, 0.22)
        x, y = rng.uniform(r + 0.02, width - r - 0.02), rng.uniform(r + 0.02, height - r - 0.02)
        kind, colour = rng.choice(SHAPES), rng.choice([c for c in COLOURS if c != background])
        touching = any(math.hypot(x - s.x * width, y - s.y * height) < r + s.r + 0.04 for s in shapes)
        alike = any((s.kind, s.colour) == (kind, colour) for s in shapes)
        if not touching and not alike and _clear_of_zone_borders(x / width) and _clear_of_zone_borders(y / height):
            shapes.append(Shape(kind, colour, x / width, y / height, r))
    return tuple(sorted(shapes, key=lambda s: (list(COLOURS).index(s.colour), SHAPES.index(s.kind))))


def sample_scene(rng: random.Random, size: tuple[int, int] | None = None, count: int | None = None) -> Scene:
    """A random scene. size: (width, height) in pixels, random when None; count: shapes wanted, one to four when
    None.
    """
    size = size or (rng.randint(112, 336), rng.randint(112, 336))
    background = rng.choice(list(BACKGROUNDS))
    shapes = sample_shapes(rng, count or rng.randint(1, MAX_SHAPES), background, size[0] / size[1])
    return Scene(draw(shapes, background, size, tinted(rng)), shapes, background)


def sample_video(rng: random.Random, size=(112, 112), frames=8):
    """A random video of one moving shape and at most one that stands still, away from the first one's path.

    Returns (list of RGB pictures, the moving Shape where it starts, direction, the other Shapes, background).
    """
    background, direction = rng.choice(list(BACKGROUNDS)), rng.choice(list(DIRECTIONS))
    shapes = list(sample_shapes(rng, rng.randint(1, 2), background, size[0] / size[1]))
    rng.shuffle(shapes)
    mover, others = shapes[0], shapes[1:]
    dx, dy = DIRECTIONS[direction]
    start = rng.uniform(mover.r + 0.02, 0.58 - mover.r)
    mover = replace(mover, x=start if dx > 0 else 1 - start) if dx else replace(mover, y=start if dy > 0 else 1 - start)
    apart = [abs(o.y - mover.y if dx else o.x - mover.x) > o.r + mover.r + 0.02 for o in others]
    others = tuple(o for o, clear in zip(others, apart, strict=True) if clear)
    return draw_video(mover, direction, others, background, size, frames), mover, direction, others, background
