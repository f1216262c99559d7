"""What training minimises: answers, what each visual token covers, and where things are.

Here: losses, the throw-away heads they need, rounding to INT4. Not here: batches (`batches.py`), steps (`train.py`).
"""

import torch
from torch import nn
from torch.nn import functional as F

from tiny_model import questions, scenes
from tiny_model.training import batches, forward

PLACE_LAYERS = {"token": 1, "grid": 2, "box": 3}  # which layer's output each place head reads
PLACE_WEIGHTS = {"cell": 1.0, "grid": 1.0, "box": 2.0}
# Outputs for `Batch.covers`: colour, shape, is a middle, its offset and extent, motion.
COVERS = [len(batches.COLOUR_CLASSES), len(batches.SHAPE_CLASSES), 1, 4, len(batches.MOTION_CLASSES)]
POINTER_LAYER, POINTER_WEIGHT = 2, 0.3  # two heads here are shown where to look: see place_loss


class Heads(nn.Module):
    """Throw-away heads for training; they are not part of the shipped model."""

    def __init__(self, width: int):
        super().__init__()
        self.covers = nn.Linear(width, sum(COVERS))
        self.place = nn.ModuleDict(
            {"token": nn.Linear(width, 3), "grid": nn.Linear(width, 2), "box": nn.Linear(width, 4)}
        )


def dense_loss(heads: Heads, features, covers) -> tuple[torch.Tensor, dict]:
    """Loss of what each visual token covers, and how often colour and shape were right where a shape is."""
    colour, shape, middle, extent, motion = heads.covers(features).float().flatten(0, 1).split(COVERS, dim=1)
    covers = covers.flatten(0, 1)
    on, is_middle = covers[:, 1] > 0, covers[:, 2] > 0
    loss = F.cross_entropy(colour, covers[:, 0].long()) + F.cross_entropy(shape, covers[:, 1].long())
    if (moves := covers[:, 7] > 0).any():  # only there: all the rest would teach it to say that nothing moves
        loss = loss + F.cross_entropy(motion[moves], covers[moves, 7].long())
    loss = loss + 4 * F.binary_cross_entropy_with_logits(middle[:, 0], covers[:, 2])
    if is_middle.any():  # offsets in tokens, box sizes as a logarithm: large shapes must not drown small ones
        wanted = torch.cat((covers[is_middle, 3:5], covers[is_middle, 5:7].log()), dim=1)
        loss = loss + 2 * F.smooth_l1_loss(extent[is_middle], wanted, beta=0.1)
    hit = {
        "colour": (colour.argmax(1) == covers[:, 0])[on].float().mean().item(),
        "shape": (shape.argmax(1) == covers[:, 1])[is_middle].float().mean().item(),
        "motion": (motion.argmax(1) == covers[:, 7])[moves].float().mean().item(),  # NaN without videos
        "middle": ((middle[:, 0] > 0) == is_middle).view(features.shape[0], -1).all(1).float().mean().item(),
    }
    return loss, hit | {"dense": loss.item()}


def place_loss(model, heads: Heads, states, batch) -> tuple[torch.Tensor, dict]:
    """How far the language model's layers are from saying where things are, and from looking there.

    Also returns, to log, the mean errors of the three place heads (in tokens, in tokens, in fractions of the picture)
    and how much one head looks where it should.
    """
    height, width = batch.grid[1:]
    visual = (batch.input_ids == model.config.image_token_id) | (batch.input_ids == model.config.video_token_id)
    ranges = [torch.arange(n, device=visual.device) for n in (batch.media * batch.grid[0], height, width)]
    cells = torch.cartesian_prod(*ranges) / 10.0  # which picture or slice, row, column
    said = {
        "cell": heads.place["token"](states[PLACE_LAYERS["token"]][visual]).float(),
        "grid": heads.place["grid"](states[PLACE_LAYERS["grid"]][batch.branch > 0]).float(),
    }
    size = torch.tensor([height, width], device=cells.device) / 10.0
    true = {"cell": cells.repeat(len(batch.input_ids), 1), "grid": size.expand_as(said["grid"])}
    asked = ~batch.target[..., 0].isnan()  # the next token speaks of one shape
    if asked.any():
        true["box"] = batch.target[asked]
        said["box"] = heads.place["box"](states[PLACE_LAYERS["box"]][asked]).float()
    loss = sum(PLACE_WEIGHTS[n] * F.smooth_l1_loss(said[n], true[n], beta=0.05) for n in said)
    log = {n: (said[n] - true[n]).abs().mean().item() * (1 if n == "box" else 10) for n in said}
    if len(batch.looks):
        look, log["looks"] = _look_loss(forward.looks(model, batch, states, POINTER_LAYER), batch.looks)
        loss = loss + POINTER_WEIGHT * look
    return loss, log


def _look_loss(looks: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Cross-entropy between where the heads look, log-probabilities (B, heads, L, L), and an even look at the
    positions `wanted` (K, 4: row, head, position, position looked at); and how much of the look goes there.
    """
    row, head, position, column = wanted.T
    askers = (row * looks.shape[1] + head) * looks.shape[2] + position
    _, asker, places = askers.unique(return_inverse=True, return_counts=True)
    look = looks[row, head, position, column]
    return -(look / places[asker]).sum() / len(places), look.exp().sum().item() / len(places)


def as_int4(weight: torch.Tensor, group: int = 128) -> torch.Tensor:
    """`weight` (rows, columns) as the default INT4 export will round it: asymmetric, 16 levels a group of one row."""
    grouped = weight.view(weight.shape[0], -1, group)
    low, high = grouped.amin(dim=2, keepdim=True).clamp(max=0), grouped.amax(dim=2, keepdim=True).clamp(min=0)
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
    weights[[tokenizer.convert_tokens_to_ids(str(v)) for v in range(0, 1001, questions.BOX_STEP)]] = 0.6
    return weights


def answer_loss(model, hidden, batch, table) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted cross-entropy of the answers, and for each labelled token whether it was the most likely one."""
    wanted = batch.labels[:, 1:]
    chosen = wanted != batches.IGNORE
    logits = model.lm_head(hidden[:, :-1][chosen]).float()
    weight = table.to(logits.device)[wanted[chosen]]
    loss = (F.cross_entropy(logits, wanted[chosen], reduction="none") * weight).sum() / weight.sum()
    return loss, logits.argmax(1) == wanted[chosen]


def exact_by_kind(batch, right: torch.Tensor) -> dict[str, list[int]]:
    """{kind: [answers with every token right, answers]}: with greedy decoding, the same as the share of exact
    answers.
    """
    chosen = batch.labels[:, 1:] != batches.IGNORE
    wrong = torch.zeros_like(chosen)
    wrong[chosen] = ~right
    out: dict[str, list[int]] = {}
    for row, kinds in enumerate(batch.kinds):
        for number, kind in enumerate(kinds, 1):
            tally = out.setdefault(kind, [0, 0])
            tally[0] += not wrong[row][batch.branch[row, 1:] == number].any()
            tally[1] += 1
    return out
