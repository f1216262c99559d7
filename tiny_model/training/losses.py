"""What training minimises: wrong answers, wrong words about what each visual token covers and where things are.

Here: losses, the throw-away heads they need, rounding to INT4. Not here: batches (`batches`), steps (`train`).
"""

import torch
from torch import nn
from torch.nn import functional as F

from tiny_model import questions, scenes
from tiny_model.training import batches, forward

PLACE_LAYERS = {"token": 1, "grid": 2, "box": 3}  # the layer whose output each place head takes
PLACE_WEIGHTS = {"cell": 1.0, "grid": 1.0, "box": 2.0}
# Outputs for `Batch.covers`: colour, shape, is a middle, its offset and extent, motion.
COVERS = [len(batches.COLOUR_CLASSES), len(batches.SHAPE_CLASSES), 1, 4, len(batches.MOTION_CLASSES)]
POINTER_LAYER = 2  # two attention heads of this layer learn to point, see `pointer_loss`
POINTER_WEIGHT = 0.3


class Heads(nn.Module):
    """Throw-away linear heads for training; they are not part of the shipped model.

    covers: on the vision encoder's features, says what a visual token covers (`batches.coverage`). place: on hidden
    states of the language model, "token" says which picture, row and column a visual token is of, "grid" how many rows
    and columns the first picture has and the latest one so far, "box" the box that the next token speaks of.
    """

    def __init__(self, width: int):
        super().__init__()
        self.covers = nn.Linear(width, sum(COVERS))
        self.place = nn.ModuleDict(
            {"token": nn.Linear(width, 3), "grid": nn.Linear(width, 4), "box": nn.Linear(width, 4)}
        )


def dense_loss(heads: Heads, features: list[torch.Tensor], covers) -> tuple[torch.Tensor, dict]:
    """Loss of what each visual token covers; and to log, how often colour and shape were right where a shape is.

    features: those of `forward.encode_media`; covers: see `batches.Batch`.
    """
    flat = torch.cat([of_one.flatten(0, 1) for of_one in features])
    colour, shape, middle, extent, motion = heads.covers(flat).float().split(COVERS, dim=1)
    is_shape, is_middle, is_moving = covers[:, 1] > 0, covers[:, 2] > 0, covers[:, 7] > 0
    loss = F.cross_entropy(colour, covers[:, 0].long()) + F.cross_entropy(shape, covers[:, 1].long())
    if is_moving.any():  # only there: all the rest would teach it to say that nothing moves
        loss = loss + F.cross_entropy(motion[is_moving], covers[is_moving, 7].long())
    loss = loss + 4 * F.binary_cross_entropy_with_logits(middle[:, 0], covers[:, 2])
    if is_middle.any():  # offsets in tokens, box sizes as a logarithm: large shapes must not drown small ones
        wanted = torch.cat((covers[is_middle, 3:5], covers[is_middle, 5:7].log()), dim=1)
        loss = loss + 2 * F.smooth_l1_loss(extent[is_middle], wanted, beta=0.1)
    found_middles = ((middle[:, 0] > 0) == is_middle).split([len(of_one.flatten(0, 1)) for of_one in features])
    by_picture = [found.view(len(of_one), -1) for found, of_one in zip(found_middles, features, strict=True)]
    log = {
        "colour": (colour.argmax(1) == covers[:, 0])[is_shape].float().mean().item(),
        "shape": (shape.argmax(1) == covers[:, 1])[is_middle].float().mean().item(),
        "motion": (motion.argmax(1) == covers[:, 7])[is_moving].float().mean().item(),  # NaN without videos
        "middle": torch.cat([of_one.all(1) for of_one in by_picture]).float().mean().item(),
        "dense": loss.item(),
    }
    return loss, log


def place_loss(model, heads: Heads, states, batch) -> tuple[torch.Tensor, dict]:
    """How far the language model's layers are from saying where things are, and from attending to them.

    Also returns, to log, the mean errors of the three place heads (in tokens, in tokens, in fractions of the picture)
    and how much of their attention the pointing heads give to where they should point.
    """
    visual = (batch.input_ids == model.config.image_token_id) | (batch.input_ids == model.config.video_token_id)
    said = {
        "cell": heads.place["token"](states[PLACE_LAYERS["token"]][visual]).float(),
        "grid": heads.place["grid"](states[PLACE_LAYERS["grid"]][batch.branch > 0]).float(),
    }
    cells = _cells(batch.grids).to(visual.device)
    true = {"cell": cells.repeat(len(visual), 1), "grid": _sizes_so_far(batch.grids, visual)[batch.branch > 0]}
    has_box = ~batch.target[..., 0].isnan()  # the next token speaks of one shape
    if has_box.any():
        true["box"] = batch.target[has_box]
        said["box"] = heads.place["box"](states[PLACE_LAYERS["box"]][has_box]).float()
    loss = sum(PLACE_WEIGHTS[name] * F.smooth_l1_loss(said[name], true[name], beta=0.05) for name in said)
    log = {name: (said[name] - true[name]).abs().mean().item() * (1 if name == "box" else 10) for name in said}
    if len(batch.pointers):
        attention = forward.attention_log_probs(model, batch, states, POINTER_LAYER)
        missed, log["looks"] = pointer_loss(attention, batch.pointers)  # the name that log.jsonl has had all along
        loss = loss + POINTER_WEIGHT * missed
    return loss, log


def _cells(grids: list[batches.Grid]) -> torch.Tensor:
    """For each visual token of a row, in tens: which picture or slice it is of, its row and its column there."""
    first = 0
    cells = []
    for slices, height, width in grids:
        numbers = torch.arange(first, first + slices)
        cells.append(torch.cartesian_prod(numbers, torch.arange(height), torch.arange(width)))
        first += slices
    return torch.cat(cells) / 10.0


def _sizes_so_far(grids: list[batches.Grid], visual: torch.Tensor) -> torch.Tensor:
    """For each token (B, L): rows and columns of the first medium and of the latest one so far, in tens (B, L, 4).

    visual (B, L): which tokens are visual ones. Not for tokens before the first medium.
    """
    ends = torch.tensor([t * h * w for t, h, w in grids], device=visual.device).cumsum(0)
    latest = torch.bucketize(visual.cumsum(1).clamp(min=1), ends)  # the number of the medium
    sizes = torch.tensor([[h, w] for _, h, w in grids], device=visual.device) / 10.0
    return torch.cat((sizes[:1].expand(*visual.shape, 2), sizes[latest]), dim=-1)


def pointer_loss(attention: torch.Tensor, pointers: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Cross-entropy between where the heads attend and attention spread evenly over where they should point; and how
    much of their attention goes there.

    attention: log-probabilities (B, heads, L, L). pointers: (K, 4), see `batches.Batch`.
    """
    row, head, position, pointed_at = pointers.T
    queries = (row * attention.shape[1] + head) * attention.shape[2] + position
    _, query, counts = queries.unique(return_inverse=True, return_counts=True)
    attended = attention[row, head, position, pointed_at]
    return -(attended / counts[query]).sum() / len(counts), attended.exp().sum().item() / len(counts)


def as_int4(weight: torch.Tensor, group: int = 128) -> torch.Tensor:
    """`weight` (rows, columns) as the default INT4 export will round it: asymmetric, 16 levels a group of one row."""
    grouped = weight.view(weight.shape[0], -1, group)
    low = grouped.amin(dim=2, keepdim=True).clamp(max=0)
    high = grouped.amax(dim=2, keepdim=True).clamp(min=0)
    scale = (high - low).clamp(min=1e-8) / 15
    zero = (-low / scale).round()
    return (((grouped / scale).round() + zero).clamp(0, 15).sub(zero) * scale).view_as(weight)


def token_weights(tokenizer) -> torch.Tensor:
    """Weight (vocabulary) of each answer token in the loss: words that carry the answer count, filler hardly does."""
    words = [*scenes.COLOURS, *scenes.SHAPES, *scenes.BACKGROUNDS, *scenes.DIRECTIONS]
    words += ["top", "bottom", "middle", "first", "second", "there", "shapes", "a", "on"]
    starts = ("Yes", "No", "The", "There", "I", "It", "Both", "Please", "A", ".", ",")
    # A count is one word of its answer; "is" and "are" come before it and already rule numbers out.
    numbers = [f" {word}" for word in (*questions.NUMBERS, "is", "are")]
    weights = torch.full((len(tokenizer),), 0.15)
    for weight, texts in ((1.0, [*(f" {word}" for word in words), *starts]), (3.0, numbers)):
        # All tokens of a word: what " four" is cut into decides with its first one.
        weights[[token for text in texts for token in tokenizer(text)["input_ids"]]] = weight
    coordinates = [str(v) for v in range(0, 1001, questions.BOX_STEP)]
    weights[[tokenizer.convert_tokens_to_ids(coordinate) for coordinate in coordinates]] = 0.6
    return weights


def answer_loss(model, hidden, batch, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of the answers, weighted by `token_weights`; and for each labelled token whether it was the most
    likely one. hidden: the language model's last states.
    """
    wanted = batch.labels[:, 1:]
    is_labelled = wanted != batches.IGNORE
    logits = model.lm_head(hidden[:, :-1][is_labelled]).float()
    weight = weights.to(logits.device)[wanted[is_labelled]]
    loss = (F.cross_entropy(logits, wanted[is_labelled], reduction="none") * weight).sum() / weight.sum()
    return loss, logits.argmax(1) == wanted[is_labelled]


def exact_by_kind(batch, right: torch.Tensor) -> dict[str, list[int]]:
    """{kind: [answers with every token right, answers]}: with greedy decoding, the same as exact answers."""
    is_labelled = batch.labels[:, 1:].cpu() != batches.IGNORE
    wrong = torch.zeros_like(is_labelled)
    wrong[is_labelled] = ~right.cpu()
    branch = batch.branch[:, 1:].cpu()
    tallies: dict[str, list[int]] = {}
    for row, kinds in enumerate(batch.kinds):
        for number, kind in enumerate(kinds, 1):
            tally = tallies.setdefault(kind, [0, 0])
            tally[0] += not wrong[row][branch[row] == number].any()
            tally[1] += 1
    return tallies
