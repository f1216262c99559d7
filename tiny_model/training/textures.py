"""Pictures that are not drawn scenes, made from noise: what the practice model learns to decline.

No photograph is used in training: photographs are for the evaluation. These only share their statistics: overlapping
things of every size ("dead leaves", Lee, Mumford & Huang 2001), detail at every scale (1/f noise), stripes and
text-like marks, blurred spots on black.
"""

import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def _colour(rng: random.Random, spread: int = 255) -> tuple[int, int, int]:
    """A random RGB colour, nearly gray where `spread` is small."""
    base = rng.randint(0, 255)
    return tuple(max(0, min(255, base + rng.randint(-spread, spread))) for _ in range(3))


def fractal_noise(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """Noise summed over octaves, in one or three channels of random contrast."""
    width, height = size
    numbers = np.random.default_rng(rng.getrandbits(32))
    channels = rng.choice([1, 3])
    total = np.zeros((height, width, 3), np.float32)
    falloff = rng.uniform(0.4, 1.0)
    for octave in range(7):
        cells = 2**octave + 1
        noise = numbers.normal(size=(cells, cells, channels)).repeat(3 // channels, axis=2)
        layers = [
            Image.fromarray(noise[..., c].astype(np.float32)).resize(size, Image.Resampling.BICUBIC) for c in range(3)
        ]
        total += falloff**octave * np.stack([np.asarray(layer) for layer in layers], axis=2)
    pixels = total / total.std() * rng.uniform(20, 70) + np.array(_colour(rng, 60))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def dead_leaves(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """Opaque things of power-law size that hide one another, then blur and grain."""
    image = Image.new("RGB", size, _colour(rng))
    canvas = ImageDraw.Draw(image)
    spread = rng.choice([0, 20, 60, 160])
    for _ in range(rng.randint(40, 250)):
        r = min(size) * 0.5 * rng.uniform(0.15, 1) ** rng.uniform(1.5, 4)
        x = rng.uniform(0, size[0])
        y = rng.uniform(0, size[1])
        if rng.random() < 0.5:
            canvas.ellipse((x - r, y - r * rng.uniform(0.4, 1), x + r, y + r), fill=_colour(rng, spread))
        else:
            corners = [(x + rng.uniform(-r, r), y + rng.uniform(-r, r)) for _ in range(rng.randint(3, 7))]
            canvas.polygon(corners, fill=_colour(rng, spread))
    return grain(rng, image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 2))))


def marks(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """Rows of short strokes, stripes or bricks: text and fabric from afar."""
    paper = _colour(rng, 30)
    ink = _colour(rng, 30)
    image = Image.new("RGB", size, paper)
    canvas = ImageDraw.Draw(image)
    step = rng.randint(4, 24)
    length = rng.choice([step // 2, step * 2, size[0]])
    for y in range(0, size[1], step):
        x = rng.randint(0, step)
        while x < size[0]:
            run = rng.randint(1, max(2, length))
            canvas.rectangle((x, y + step // 4, x + run, y + step * rng.uniform(0.4, 0.8)), fill=ink)
            x += run + rng.randint(2, step)
    return grain(rng, image.rotate(rng.choice([0, 0, 90, rng.uniform(0, 90)]), fillcolor=paper))


def spots(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """Blurred or grained spots on a dark or even ground: a night sky, a specimen, something under a lens."""
    is_dark = rng.random() < 0.7
    ground = tuple(v // 4 for v in _colour(rng, 20)) if is_dark else _colour(rng, 30)
    image = Image.new("RGB", size, ground)
    canvas = ImageDraw.Draw(image)
    for _ in range(rng.choice([1, 2, 8, 40, 120])):
        r = min(size) * rng.uniform(0.01, 0.45) * rng.random()
        x = rng.uniform(0, size[0])
        y = rng.uniform(0, size[1])
        canvas.ellipse((x - r, y - r, x + r, y + r), fill=_colour(rng, 80))
    blurred = image.filter(ImageFilter.GaussianBlur(rng.uniform(1, 6)))
    noise = fractal_noise(rng, size)
    return grain(rng, Image.blend(blurred, noise, rng.uniform(0.1, 0.5)))


def grain(rng: random.Random, image: Image.Image) -> Image.Image:
    """Add sensor noise of random strength, sometimes none."""
    strength = rng.choice([0, 0, 4, 10, 20])
    if not strength:
        return image
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, strength, (image.height, image.width, 1))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def lit_unevenly(rng: random.Random, image: Image.Image) -> Image.Image:
    """A brightness ramp over the whole picture, in any direction, from up to a third less to a fifth more."""
    angle = rng.uniform(0, 2 * np.pi)
    x = np.linspace(-1, 1, image.width)[None, :] * np.cos(angle)
    y = np.linspace(-1, 1, image.height)[:, None] * np.sin(angle)
    low, high = rng.uniform(0.67, 1), rng.uniform(1, 1.2)
    ramp = low + (high - low) * (x + y + np.sqrt(2)) / np.sqrt(8)
    return Image.fromarray((np.asarray(image) * ramp[..., None]).clip(0, 255).astype(np.uint8))


def sample_texture(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """One RGB picture of `size` (width, height) of a random kind."""
    return rng.choice([fractal_noise, dead_leaves, dead_leaves, marks, spots])(rng, size)
