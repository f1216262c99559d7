"""Training batches: drawn media, several questions packed behind them, and what each visual token covers.

Here: everything between a random generator and tensors. Not here: losses and steps (`losses`, `train`).

All rows of a batch share their grids, so that the vision encoder runs on dense tensors and the prompt's prefix is
equal. Questions are packed as *branches*: each attends to the shared prefix (system prompt and media) and to itself,
and its positions restart where the prefix ends. Packed as one conversation instead, the model learns to copy later
answers from earlier ones.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from adapters.qwen_vl import MERGE_SIZE, PATCH_SIZE
from tiny_model import questions, scenes
from tiny_model.questions import Dialogue, Pointer
from tiny_model.training import textures

TOKEN_SIDE = PATCH_SIZE * MERGE_SIZE  # pixels of one side of a visual token
PATCH_VALUES = 3 * 2 * PATCH_SIZE**2  # colours × frames × pixels
IGNORE = -100  # the label of a token that is not part of an answer
NO_BOX = [float("nan")] * 4
COLOUR_CLASSES = [*scenes.COLOURS, *(f"on {b}" for b in scenes.BACKGROUNDS), "not a scene"]
SHAPE_CLASSES = ["none", *scenes.SHAPES]
MOTION_CLASSES = ["none", *scenes.DIRECTIONS]
ANSWER = "<|im_end|>\n<|im_start|>assistant\n"
NEXT = "<|im_end|>\n<|im_start|>user\n"

Grid = tuple[int, int, int]  # (t, h, w) of a medium in visual tokens: temporal slices, rows, columns


@dataclass
class Batch:
    """B rows with M media each; a row has L tokens of text and media.

    grids: of a row's first medium, its second, …: the same in each row. N below is the sum
    of B·t·h·w over them. video: whether the media are videos.
    pixel_values (N·4, PATCH_VALUES): the patches of the first medium of every row, then those of the second.
    input_ids, labels (B, L): tokens, and the same where they belong to an answer, IGNORE elsewhere.
    branch (B, L): the number of the question that a token belongs to; 0 is the prefix, -1 padding.
    target (B, L, 4): the box that the next token speaks of in fractions of the picture, NaN elsewhere.
    pointers (K, 4): where attention heads should point, one in each row: (row, head, position of a token, position
    there to point to while saying the next one).
    covers (N, 8): what each visual token covers, see `coverage`; in the order of pixel_values.
    kinds: for every row the kinds of its branches 1, 2, …
    """

    pixel_values: torch.Tensor
    grids: list[Grid]
    video: bool
    input_ids: torch.Tensor
    labels: torch.Tensor
    branch: torch.Tensor
    target: torch.Tensor
    pointers: torch.Tensor
    covers: torch.Tensor
    kinds: list[list[str]]

    def media_tokens(self) -> list[int]:
        """Visual tokens of the first medium of all rows together, of the second, …: how N is parted."""
        return [len(self.input_ids) * t * h * w for t, h, w in self.grids]


# ---- what visual tokens cover ---------------------------------------------------------------------------------------


def coverage(scene: scenes.Scene | None, height: int, width: int, mover=None, direction: str = "none") -> torch.Tensor:
    """What each of height × width visual tokens covers: a tensor (height·width, 8).

    Its columns: colour class; shape class; whether a shape's middle is in the token; for middles its offset (x, y)
    within the token and half the shape's box (w, h), in tokens; motion class. scene: None for what is not a drawn
    scene. mover: the shape of the scene that moves in `direction`.
    """
    covers = torch.zeros(height, width, 8)
    if scene is None:
        covers[..., 0] = COLOUR_CLASSES.index("not a scene")
        return covers.view(-1, 8)
    covers[..., 0] = COLOUR_CLASSES.index(f"on {scene.background}")
    middle_x = torch.arange(width) + 0.5
    middle_y = torch.arange(height) + 0.5
    for shape in scene.shapes:
        labels = torch.tensor([COLOUR_CLASSES.index(shape.colour), SHAPE_CLASSES.index(shape.kind)], dtype=torch.float)
        motion = MOTION_CLASSES.index(direction if shape == mover else "none")
        x1, y1, x2, y2 = scenes.box(shape, (width, height))  # in tokens; exact, as visual tokens are square
        inside = ((middle_y > y1) & (middle_y < y2))[:, None] & ((middle_x > x1) & (middle_x < x2))
        covers[..., :2][inside] = labels
        covers[..., 7][inside] = motion
        x, y = shape.x * width, shape.y * height
        token = covers.view(-1, 8)[_token_of(shape, (width, height))]
        token[:2] = labels
        token[2:] = torch.tensor([1, x - int(x), y - int(y), (x2 - x1) / 2, (y2 - y1) / 2, motion])
    return covers.view(-1, 8)


def _token_of(shape: scenes.Shape, size: tuple[int, int]) -> int:
    """Which visual token of a picture of `size` (width, height) tokens the shape's middle is in."""
    width, height = size
    return min(height - 1, int(shape.y * height)) * width + min(width - 1, int(shape.x * width))


def _sides(grids: list[Grid]) -> list[tuple[int, int]]:
    """(width, height) of each picture, and of each temporal slice of videos, in visual tokens."""
    return [(w, h) for t, h, w in grids for _ in range(t)]


def _fractions(pointers: tuple[Pointer, ...], grids: list[Grid]) -> list[float]:
    """The box of the one shape pointed at, in fractions of its picture; NO_BOX where it is not just one."""
    if len(pointers) != 1 or pointers[0] == questions.NOWHERE:
        return NO_BOX
    size = _sides(grids)[pointers[0].number]
    return [v / side for v, side in zip(scenes.box(pointers[0].shape, size), size * 2, strict=True)]


def _pointed_at(visual: list[int], pointer: Pointer, grids: list[Grid]) -> int:
    """Position of the token to point to, one of the positions `visual` of visual tokens; the very first token stands
    for what is not there.
    """
    if pointer == questions.NOWHERE:
        return 0
    sides = _sides(grids)
    before = sum(width * height for width, height in sides[: pointer.number])
    return visual[before + _token_of(pointer.shape, sides[pointer.number])]


# ---- packing --------------------------------------------------------------------------------------------------------


class PackedRow(NamedTuple):
    """Dialogues one after the other, with an entry for each token: its id, its label (IGNORE outside of answers), the
    number of its dialogue from 1, and where to point while saying the token after it.
    """

    ids: list[int]
    labels: list[int]
    branch: list[int]
    pointers: list[tuple[Pointer, ...]]


class Packer:
    """Turns dialogues into packed token rows. Holds the processor and remembers what it tokenized."""

    def __init__(self, processor):
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.pads = self.tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|video_pad|>"])
        self._tokenized: dict[str, list[int]] = {}

    def tokenize(self, text: str) -> list[int]:
        if text not in self._tokenized:
            self._tokenized[text] = self.tokenizer(text)["input_ids"]
        return self._tokenized[text]

    def prefix(self, grids: list[Grid], kind: str) -> list[int]:
        """System prompt and media of `grids`, all of a kind ("image" or "video"), up to where a question starts."""
        content = [{"type": kind}] * len(grids) + [{"type": "text", "text": "|question|"}]
        text = self.processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
        return self.expand(self.tokenizer(text.split("|question|")[0])["input_ids"], grids)

    def expand(self, ids: list[int], grids: list[Grid]) -> list[int]:
        """`ids` with as many placeholders as each medium has visual tokens instead of its one."""
        sizes = iter([t * h * w for t, h, w in grids])
        expanded: list[int] = []
        for token in ids:
            expanded += [token] * next(sizes) if token in self.pads else [token]
        return expanded

    def pack(self, dialogues: list[Dialogue], later: list[Grid]) -> PackedRow:
        """`dialogues` as branches of one row; only answers are labelled. later: the grid of the picture that a question
        brings along, where one does.
        """
        row = PackedRow([], [], [], [])
        for number, dialogue in enumerate(dialogues, 1):
            for turn, ((question, _), parts) in enumerate(zip(dialogue.turns, dialogue.parts, strict=True)):
                asked = self.expand(self.tokenize((NEXT if turn else "") + question + ANSWER), later)
                answered: list[int] = []
                pointers: list[tuple[Pointer, ...]] = [()] * (len(asked) - 1)
                for text, pointed in (*parts, ("<|im_end|>", ())):
                    said = self.tokenize(text)
                    answered += said
                    pointers += [pointed] * len(said)
                row.ids.extend(asked + answered)
                row.labels.extend([IGNORE] * len(asked) + answered)
                row.pointers.extend([*pointers, ()])
            row.branch.extend([number] * (len(row.ids) - len(row.branch)))
        return row

    def rows(
        self, grids: list[Grid], kind: str, rows_of_dialogues: list[list[Dialogue]], first: int | None = None
    ) -> dict:
        """Batch's text fields: the dialogues of every row packed behind the same prefix and padded to one length.

        grids: of a row's media, which are of one `kind`. first: how many of them come before all questions, if not all.
        """
        first = len(grids) if first is None else first
        prefix = self.prefix(grids[:first], kind)
        packed = [self.pack(dialogues, grids[first:]) for dialogues in rows_of_dialogues]
        begin = len(prefix)
        shape = (len(packed), begin + max(len(row.ids) for row in packed))
        input_ids = torch.full(shape, self.tokenizer.pad_token_id)
        labels = torch.full(shape, IGNORE)
        branch = torch.full(shape, -1)
        target = torch.full((*shape, 4), float("nan"))
        input_ids[:, :begin] = torch.tensor(prefix)
        branch[:, :begin] = 0
        pointers: list[tuple[int, int, int, int]] = []
        for number, row in enumerate(packed):
            end = begin + len(row.ids)
            input_ids[number, begin:end] = torch.tensor(row.ids)
            labels[number, begin:end] = torch.tensor(row.labels)
            branch[number, begin:end] = torch.tensor(row.branch)
            target[number, begin:end] = torch.tensor([_fractions(pointed, grids) for pointed in row.pointers])
            visual = [position for position, token in enumerate(prefix + row.ids) if token in self.pads]
            for position, pointed in enumerate(row.pointers, begin):
                pointers += [(number, p.head, position, _pointed_at(visual, p, grids)) for p in pointed]
        return {
            "grids": grids,
            "input_ids": input_ids, "labels": labels, "branch": branch, "target": target,
            "pointers": torch.tensor(pointers, dtype=torch.long).view(-1, 4),
            "kinds": [[dialogue.kind for dialogue in dialogues] for dialogues in rows_of_dialogues],
        }  # fmt: skip


# ---- random batches: the order of the draws decides what a seed gives, and must stay ---------------------------------


def sample_grid(rng: random.Random, low: float, high: float) -> tuple[int, int]:
    """(height, width) in visual tokens: between low and high of them, log-uniform, of an aspect ratio up to 1:2."""
    tokens = low * (high / low) ** rng.random()
    aspect = 2 ** rng.uniform(-1, 1)
    return max(3, round((tokens / aspect) ** 0.5)), max(3, round((tokens * aspect) ** 0.5))


def image_batch(rng, packer, size: int, grid, kinds=questions.KINDS, count: int = 5, most=scenes.MAX_SHAPES) -> Batch:
    """`size` pictures of up to `most` shapes, with up to `count` dialogues of `kinds` each."""
    drawn = [_pictures(rng, grid, size, most=most)]
    lender = scenes.sample_scene(rng, (84, 84))  # lends its words to questions about textures
    dialogues = []
    for _, scene in drawn[0]:
        if scene:
            dialogues.append(_scene_dialogues(rng, scene, count, kinds))
        else:
            dialogues.append([questions.about_photo(rng, lender) for _ in range(3)])
    return _picture_batch(packer, [grid], 1, drawn, dialogues)


def pair_batch(rng, packer, size: int, grids, count: int = 5) -> Batch:
    """`size` pairs of pictures of two grids, with questions that need both or say which."""

    def ask(first: scenes.Scene, second: scenes.Scene) -> list[Dialogue]:
        return [questions.about_pair(rng, first, second) for _ in range(count)]

    return _two_pictures(rng, packer, size, grids, 2, ask)


def new_picture_batch(rng, packer, size: int, grids) -> Batch:
    """`size` conversations about a picture in which another one, of the second grid, follows."""

    def ask(first: scenes.Scene, second: scenes.Scene) -> list[Dialogue]:
        return [questions.about_new_picture(rng, first, second)]

    return _two_pictures(rng, packer, size, grids, 1, ask)


def video_batch(rng, packer, size: int, grid, count: int = 4) -> Batch:
    """`size` videos of 2·grid[0] frames, with questions about what moves and which way."""
    slices, height, width = grid
    videos = [scenes.sample_video(rng, (width * TOKEN_SIDE, height * TOKEN_SIDE), slices * 2) for _ in range(size)]
    frames = [torch.from_numpy(np.stack([np.asarray(f) for f in v.frames])).permute(0, 3, 1, 2) for v in videos]
    covers = torch.cat([covered for video in videos for covered in _slice_coverage(video, grid)])
    values = packer.processor.video_processor(frames, do_resize=False, return_tensors="pt")["pixel_values_videos"]
    dialogues = [
        [questions.about_video(rng, video.mover, video.direction, slices) for _ in range(count)] for video in videos
    ]
    return Batch(values, video=True, covers=covers, **packer.rows([grid], "video", dialogues))


def text_batch(rng, packer, size: int, count: int = 6) -> Batch:
    """Dialogues without any picture: off-topic questions, and questions about a picture that is missing."""
    lender = scenes.sample_scene(rng, (84, 84))
    makers = (questions.off_topic, lambda r: questions.without_picture(r, lender))
    dialogues = [[rng.choice(makers)(rng) for _ in range(count)] for _ in range(size)]
    text = packer.rows([], "image", dialogues)
    return Batch(torch.zeros(0, PATCH_VALUES), video=False, covers=torch.zeros(0, 8), **text)


def _two_pictures(rng, packer, size: int, grids, first: int, ask: Callable) -> Batch:
    """`size` rows with the dialogues that `ask(scene, other)` makes; `first` pictures come before all questions."""
    drawn = [_pictures(rng, grid, size, textured=0) for grid in grids]
    dialogues = [ask(scene, other) for (_, scene), (_, other) in zip(*drawn, strict=True)]
    return _picture_batch(packer, grids, first, drawn, dialogues)


def _picture_batch(packer, grids, first: int, drawn, dialogues: list[list[Dialogue]]) -> Batch:
    """drawn: for each of `grids`, one picture for each row (see `_pictures`). The pictures of the `first` grids come
    before all questions.
    """
    pairs = [(grid, picture, scene) for grid, of_one in zip(grids, drawn, strict=True) for picture, scene in of_one]
    covers = torch.cat([coverage(scene, height, width) for (_, height, width), _, scene in pairs])
    pictures = [picture for _, picture, _ in pairs]
    values = packer.processor.image_processor(pictures, do_resize=False, return_tensors="pt")["pixel_values"]
    return Batch(values, video=False, covers=covers, **packer.rows(grids, "image", dialogues, first))


def _scene_dialogues(rng, scene: scenes.Scene, count: int, kinds) -> list[Dialogue]:
    """Up to `count` different dialogues; one in ten is off the topic."""
    found: dict[tuple[str, str], Dialogue] = {}
    for kind in rng.choices(kinds, k=count * 2):
        dialogue = questions.off_topic(rng) if rng.random() < 0.1 else questions.about_scene(rng, scene, kind)
        if dialogue and len(found) < count:
            found[dialogue.turns[-1]] = dialogue
    return list(found.values()) or [questions.off_topic(rng)]


def _pictures(
    rng, grid, amount: int, textured: float = 0.1, most: int = scenes.MAX_SHAPES
) -> list[tuple[Image.Image, scenes.Scene | None]]:
    """`amount` pictures of one grid, each with its Scene, or None for a texture (a share of `textured`)."""
    _, height, width = grid
    size = (width * TOKEN_SIDE, height * TOKEN_SIDE)
    pictures: list[tuple[Image.Image, scenes.Scene | None]] = []
    for _ in range(amount):
        if rng.random() < textured:
            pictures.append((textures.sample_texture(rng, size), None))
            continue
        scene = scenes.sample_scene(rng, _size_before_resizing(rng, height, width), rng.randint(1, most))
        pictures.append((_resized(rng, scene.image, size), scene))
    return pictures


def _size_before_resizing(rng, height: int, width: int) -> tuple[int, int]:
    """(width, height) to draw at, so that the model meets pictures enlarged and reduced as well as sharp."""
    scale = TOKEN_SIDE * rng.choice([1, 1, rng.uniform(0.35, 1), rng.uniform(1, 1.6)])
    scale = max(scale, 84 / min(height, width))
    return round(width * scale), round(height * scale)


def _resized(rng, image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Bring a picture to `size` as the processor would; sometimes lit unevenly, as on a desk, and with noise, as a
    camera or JPEG leaves.
    """
    image = image.resize(size, Image.Resampling.BICUBIC)
    if rng.random() < 0.2:
        image = textures.lit_unevenly(rng, image)
    return textures.grain(rng, image) if rng.random() < 0.2 else image


def _slice_coverage(video: scenes.Video, grid) -> list[torch.Tensor]:
    """What the visual tokens of each temporal slice of a video cover."""
    slices, height, width = grid
    covered = []
    for mover in scenes.way_points(video.mover, video.direction, slices):
        scene = scenes.Scene(video.frames[0], (*video.others, mover), video.background)
        covered.append(coverage(scene, height, width, mover, video.direction))
    return covered
