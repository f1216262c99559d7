"""Training batches: drawn media, several questions packed behind them, and what each visual token covers.

Here: everything between a random generator and tensors. Not here: losses and steps (`train.py`).

All samples of a batch share one grid, so that the vision tower runs on a dense tensor and the prompt's prefix is
equal. Questions are packed as *branches*: each sees the shared prefix (system prompt and media) and itself, and its
positions restart where the prefix ends. Packed as one conversation instead, the model learns to copy later answers
from earlier ones.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from tiny_model import questions, scenes
from tiny_model.training import textures

IGNORE = -100
NO_BOX = [float("nan")] * 4
COLOUR_CLASSES = [*scenes.COLOURS, *(f"on {b}" for b in scenes.BACKGROUNDS), "not a scene"]
SHAPE_CLASSES = ["none", *scenes.SHAPES]
MOTION_CLASSES = ["none", *scenes.DIRECTIONS]
ANSWER = "<|im_end|>\n<|im_start|>assistant\n"
NEXT = "<|im_end|>\n<|im_start|>user\n"


@dataclass
class Batch:
    """B samples with M media each, all of one grid (t, h, w) of merged tokens; N = t·h·w visual tokens a medium.

    pixel_values (B·M·4N, 1176); input_ids, labels, branch (B, L), branch 0 is the prefix and -1 padding; target (B,
    L, 4), the box that the next token speaks of in fractions of the picture, NaN elsewhere; looks (K, 4), each (row,
    head, position, position there to look at when saying the next token); covers (B·M·t, h·w, 8), see `coverage`;
    kinds: for every row the kind of its branches 1, 2, …
    """

    pixel_values: torch.Tensor
    grid: tuple[int, int, int]
    media: int
    video: bool
    input_ids: torch.Tensor
    labels: torch.Tensor
    branch: torch.Tensor
    target: torch.Tensor
    looks: torch.Tensor
    covers: torch.Tensor
    kinds: list[list[str]]


def coverage(scene: scenes.Scene | None, height: int, width: int, mover=None, direction: str = "none") -> torch.Tensor:
    """What each of height × width merged tokens covers: (colour class, shape class, is a shape's middle, and for
    middles its offset (x, y) within the token and half its box (w, h), in tokens; motion class). scene None: not a
    drawn scene. mover: the shape of the scene that moves in `direction`.
    """
    out = torch.zeros(height, width, 8)
    if scene is None:
        out[..., 0] = COLOUR_CLASSES.index("not a scene")
        return out.view(-1, 8)
    out[..., 0] = COLOUR_CLASSES.index(f"on {scene.background}")
    middle_x, middle_y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    for shape in scene.shapes:
        labels = torch.tensor([COLOUR_CLASSES.index(shape.colour), SHAPE_CLASSES.index(shape.kind)], dtype=torch.float)
        x1, y1, x2, y2 = scenes.box(shape, (width, height))  # in tokens; exact, as token cells are square
        inside = ((middle_y > y1) & (middle_y < y2))[:, None] & ((middle_x > x1) & (middle_x < x2))
        motion = MOTION_CLASSES.index(direction if shape == mover else "none")
        out[..., :2][inside], out[..., 7][inside] = labels, motion
        x, y = shape.x * width, shape.y * height
        cell = out.view(-1, 8)[_cell(shape, (width, height))]
        cell[:2] = labels
        cell[2:] = torch.tensor([1, x - int(x), y - int(y), (x2 - x1) / 2, (y2 - y1) / 2, motion])
    return out.view(-1, 8)


def _cell(shape: scenes.Shape, size: tuple[int, int]) -> int:
    """Which visual token of a picture of `size` (width, height) tokens the shape's middle is in."""
    width, height = size
    return min(height - 1, int(shape.y * height)) * width + min(width - 1, int(shape.x * width))


def sample_grid(rng: random.Random, low: float, high: float) -> tuple[int, int]:
    """(height, width) in merged tokens: a count between low and high, log-uniform, of an aspect ratio up to 1:2."""
    tokens = low * (high / low) ** rng.random()
    aspect = 2 ** rng.uniform(-1, 1)
    return max(3, round((tokens / aspect) ** 0.5)), max(3, round((tokens * aspect) ** 0.5))


def _resized(rng: random.Random, image, size):
    """Bring a picture to `size` as the processor would (bicubic); sometimes with noise, as a camera or JPEG leaves."""
    image = image.resize(size, 3)
    return textures.grain(rng, image) if rng.random() < 0.2 else image


def _native(rng: random.Random, height: int, width: int) -> tuple[int, int]:
    """A size to draw at before resizing, so that pictures are seen enlarged and reduced as well as sharp."""
    scale = 28 * rng.choice([1, 1, rng.uniform(0.35, 1), rng.uniform(1, 1.6)])
    scale = max(scale, 84 / min(height, width))
    return round(width * scale), round(height * scale)


def _fractions(marks, size: tuple[int, int]) -> list[float]:
    """Bounding box in fractions of a picture of `size`, NO_BOX where not exactly one shape is marked."""
    if len(marks) != 1 or marks[0] == questions.NOWHERE:
        return NO_BOX
    return [v / side for v, side in zip(scenes.box(marks[0].shape, size), size * 2, strict=True)]


class Packer:
    """Turns dialogues into packed token rows. Holds the processor and remembers what it tokenized."""

    def __init__(self, processor):
        self.processor, self.tokenizer, self._known = processor, processor.tokenizer, {}
        self.pads = self.tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|video_pad|>"])

    def encode(self, text: str) -> list[int]:
        if text not in self._known:
            self._known[text] = self.tokenizer(text)["input_ids"]
        return self._known[text]

    def prefix(self, media: int, kind: str, tokens: int) -> list[int]:
        """System prompt and media, up to where a question starts."""
        content = [{"type": kind}] * media + [{"type": "text", "text": "|question|"}]
        text = self.processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
        return self.expand(self.tokenizer(text.split("|question|")[0])["input_ids"], tokens)

    def expand(self, ids: list[int], tokens: int) -> list[int]:
        """`ids` with `tokens` placeholders in the place of each one."""
        return [i for token in ids for i in ([token] * tokens if token in self.pads else [token])]

    def branches(self, dialogues, tokens: int) -> tuple[list[int], list[int], list[int], list]:
        """(ids, labels, branch numbers, marks) of dialogues packed one after the other; only answers are labelled.
        `tokens`: visual tokens of a picture that a question brings along.

        Marks are those of the next token: what it takes to say it.
        """
        ids, labels, branch, marks = [], [], [], []
        for number, dialogue in enumerate(dialogues, 1):
            for turn, ((question, _), parts) in enumerate(zip(dialogue.turns, dialogue.parts, strict=True)):
                asked = self.expand(self.encode((NEXT if turn else "") + question + ANSWER), tokens)
                parts = [(self.encode(text), seen) for text, seen in parts] + [(self.encode("<|im_end|>"), ())]
                answered = [token for said, _ in parts for token in said]
                ids += asked + answered
                labels += [IGNORE] * len(asked) + answered
                marks += [()] * (len(asked) - 1) + [seen for said, seen in parts for _ in said] + [()]
            branch += [number] * (len(ids) - len(branch))
        return ids, labels, branch, marks

    def rows(self, prefix, rows_of_dialogues, size) -> dict:
        """Batch's text fields: dialogues of every row packed behind the same prefix and padded to one length.

        size: (width, height) of a picture or a video's slice in visual tokens.
        """
        packed = [self.branches(dialogues, size[0] * size[1]) for dialogues in rows_of_dialogues]
        length = len(prefix) + max(len(p[0]) for p in packed)
        shape = (len(packed), length)
        out = {
            "input_ids": torch.full(shape, self.tokenizer.pad_token_id), "labels": torch.full(shape, IGNORE),
            "branch": torch.full(shape, -1), "target": torch.full((*shape, 4), float("nan")),
        }  # fmt: skip
        out["input_ids"][:, : len(prefix)], out["branch"][:, : len(prefix)] = torch.tensor(prefix), 0
        looks = []
        for row, (ids, labels, branch, marks) in enumerate(packed):
            visual = [i for i, token in enumerate(prefix + ids) if token in self.pads]
            span = slice(len(prefix), len(prefix) + len(ids))
            out["input_ids"][row, span], out["labels"][row, span] = torch.tensor(ids), torch.tensor(labels)
            out["branch"][row, span] = torch.tensor(branch)
            out["target"][row, span] = torch.tensor([_fractions(seen, size) for seen in marks])
            for position, seen in enumerate(marks, len(prefix)):
                looks += [(row, mark.head, position, self._column(visual, mark, size)) for mark in seen]
        kinds = [[d.kind for d in dialogues] for dialogues in rows_of_dialogues]
        return out | {"looks": torch.tensor(looks, dtype=torch.long).view(-1, 4), "kinds": kinds}

    @staticmethod
    def _column(visual: list[int], mark: questions.Mark, size: tuple[int, int]) -> int:
        """Position of the visual token to look at; the very first token stands for what is not there."""
        if mark == questions.NOWHERE:
            return 0
        return visual[mark.number * size[0] * size[1] + _cell(mark.shape, size)]


def _scene_dialogues(rng, scene, count, kinds):
    """Up to `count` different dialogues; one in ten is off the topic."""
    found = {}
    for kind in rng.choices(kinds, k=count * 2):
        dialogue = questions.off_topic(rng) if rng.random() < 0.1 else questions.about_scene(rng, scene, kind)
        if dialogue and len(found) < count:
            found[dialogue.turns[-1]] = dialogue
    return list(found.values()) or [questions.off_topic(rng)]


def _pictures(rng, grid, amount, textured=0.1, most=scenes.MAX_SHAPES):
    """`amount` pictures of one grid, each with its Scene, or None for a texture."""
    _, height, width = grid
    size, out = (width * 28, height * 28), []
    for _ in range(amount):
        if rng.random() < textured:
            out.append((textures.sample_texture(rng, size), None))
            continue
        scene = scenes.sample_scene(rng, _native(rng, height, width), rng.randint(1, most))
        out.append((_resized(rng, scene.image, size), scene))
    return out


def _patches(packer, pictures) -> torch.Tensor:
    return packer.processor.image_processor(pictures, do_resize=False, return_tensors="pt")["pixel_values"]


def image_batch(rng, packer, size: int, grid, kinds=questions.KINDS, count: int = 5, most=scenes.MAX_SHAPES) -> Batch:
    """`size` pictures with up to `count` dialogues each."""
    drawn = _pictures(rng, grid, size, most=most)
    stand_in = scenes.sample_scene(rng, (84, 84))
    dialogues = [
        _scene_dialogues(rng, scene, count, kinds)
        if scene
        else [questions.about_photo(rng, stand_in) for _ in range(3)]
        for _, scene in drawn
    ]
    text = packer.rows(packer.prefix(1, "image", grid[1] * grid[2]), dialogues, (grid[2], grid[1]))
    covers = torch.stack([coverage(scene, grid[1], grid[2]) for _, scene in drawn])
    return Batch(_patches(packer, [p for p, _ in drawn]), grid, 1, False, covers=covers, **text)


def pair_batch(rng, packer, size: int, grid, count: int = 5) -> Batch:
    """`size` pairs of pictures of one grid, with questions that need both or say which."""

    def ask(*pair) -> list[questions.Dialogue]:
        return [questions.about_pair(rng, *pair) for _ in range(count)]

    return _two_pictures(rng, packer, size, grid, 2, ask)


def new_picture_batch(rng, packer, size: int, grid) -> Batch:
    """`size` conversations about a picture in which another one follows."""
    return _two_pictures(rng, packer, size, grid, 1, lambda *pair: [questions.about_new_picture(rng, *pair)])


def _two_pictures(rng, packer, size: int, grid, first: int, ask: Callable) -> Batch:
    """`size` rows with the dialogues that `ask(scene, other)` makes; `first` pictures come before all questions."""
    drawn = _pictures(rng, grid, 2 * size, textured=0)
    dialogues = [ask(drawn[i][1], drawn[i + 1][1]) for i in range(0, len(drawn), 2)]
    text = packer.rows(packer.prefix(first, "image", grid[1] * grid[2]), dialogues, (grid[2], grid[1]))
    covers = torch.stack([coverage(scene, grid[1], grid[2]) for _, scene in drawn])
    return Batch(_patches(packer, [p for p, _ in drawn]), grid, 2, False, covers=covers, **text)


def video_batch(rng, packer, size: int, grid, count: int = 4) -> Batch:
    """`size` videos of 2·grid[0] frames, with questions about what moves and which way."""
    clips = [scenes.sample_video(rng, (grid[2] * 28, grid[1] * 28), grid[0] * 2) for _ in range(size)]
    frames = [torch.from_numpy(np.stack([np.asarray(f) for f in c[0]])).permute(0, 3, 1, 2) for c in clips]
    covers = torch.stack([cover for c in clips for cover in _slices(c, grid)])
    values = packer.processor.video_processor(frames, do_resize=False, return_tensors="pt")["pixel_values_videos"]
    dialogues = [[questions.about_video(rng, c[1], c[2], grid[0]) for _ in range(count)] for c in clips]
    text = packer.rows(packer.prefix(1, "video", grid[0] * grid[1] * grid[2]), dialogues, (grid[2], grid[1]))
    return Batch(values, grid, 1, True, covers=covers, **text)


def _slices(clip, grid) -> list[torch.Tensor]:
    """What the tokens of each temporal slice of a clip (see scenes.sample_video) cover."""
    frames, mover, direction, others, background = clip
    return [
        coverage(scenes.Scene(frames[0], (*others, shape), background), *grid[1:], shape, direction)
        for shape in scenes.moved(mover, direction, grid[0])
    ]


def text_batch(rng, packer, size: int, count: int = 6) -> Batch:
    """Dialogues without any picture: off-topic questions, and questions about a picture that is missing."""
    scene = scenes.sample_scene(rng, (84, 84))
    makers = (questions.off_topic, lambda r: questions.without_picture(r, scene))
    dialogues = [[rng.choice(makers)(rng) for _ in range(count)] for _ in range(size)]
    text = packer.rows(packer.prefix(0, "image", 0), dialogues, (1, 1))
    return Batch(torch.zeros(0, 1176), (0, 0, 0), 0, False, covers=torch.zeros(0, 0, 8), **text)
