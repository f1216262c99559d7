"""Train the embedded model: `python -m tiny_model.train --stage vision`, then `--stage joint --int4`.

Two stages, both counted in steps so that a seed reproduces them, both resumable (the same command goes on from the
last checkpoint):
1. vision: throw-away linear heads on the visual tokens learn what each token covers (dense labels);
2. joint: answers, with the dense labels kept, and two more throw-away heads that make place explicit inside the
language model: early layers say the row and column of a visual token, a later one the box of what the answer speaks
of. Not here: how batches are made (`batches.py`), how the result is measured (`evaluate.py`).
"""

import argparse
import contextlib
import copy
import json
import random
import shutil
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoProcessor

from tiny_model import batches, forward, questions, scenes
from tiny_model.model import build_model, build_processor
from tiny_model.muon import Muon

WEIGHTS = Path(__file__).parent / "weights"
STEPS = {"vision": 2000, "joint": 6000}
VISION_TOKENS, JOINT_TOKENS, PRACTICE_TOKENS = 1600, 800, 400  # visual tokens of one batch
DENSE_WEIGHT, OTHER_WEIGHT = 0.5, 0.25  # in the joint stage, see Trainer.draw
PLACE_LAYERS = {"token": 1, "grid": 2, "box": 3}  # which layer's output each place head reads
PLACE_WEIGHTS = {"cell": 1.0, "grid": 1.0, "box": 2.0}
POINTER_LAYER, POINTER_WEIGHT = 2, 0.3  # one head here is shown where to look: see place_loss
FIRST_KINDS = ("colour", "shape", "where", "count", "is_there")


class Heads(nn.Module):
    """Throw-away heads for training; they are not part of the shipped model."""

    def __init__(self, width: int):
        super().__init__()
        self.covers = nn.Linear(width, len(batches.COLOUR_CLASSES) + len(batches.SHAPE_CLASSES) + 1 + 4)
        self.place = nn.ModuleDict(
            {"token": nn.Linear(width, 2), "grid": nn.Linear(width, 2), "box": nn.Linear(width, 4)}
        )


def dense_loss(heads: Heads, features, covers) -> tuple[torch.Tensor, dict]:
    """Loss of what each visual token covers, and how often colour and shape were right where a shape is."""
    colours, shapes = len(batches.COLOUR_CLASSES), len(batches.SHAPE_CLASSES)
    out = heads.covers(features).float().flatten(0, 1)
    colour, shape, middle, extent = out.split([colours, shapes, 1, 4], dim=1)
    covers = covers.flatten(0, 1)
    on, is_middle = covers[:, 1] > 0, covers[:, 2] > 0
    loss = F.cross_entropy(colour, covers[:, 0].long()) + F.cross_entropy(shape, covers[:, 1].long())
    loss = loss + 4 * F.binary_cross_entropy_with_logits(middle[:, 0], covers[:, 2])
    if is_middle.any():  # offsets in tokens, box sizes as a logarithm: large shapes must not drown small ones
        wanted = torch.cat((covers[is_middle, 3:5], covers[is_middle, 5:7].log()), dim=1)
        loss = loss + 2 * F.smooth_l1_loss(extent[is_middle], wanted, beta=0.1)
    hit = {
        "colour": (colour.argmax(1) == covers[:, 0])[on].float().mean().item(),
        "shape": (shape.argmax(1) == covers[:, 1])[is_middle].float().mean().item(),
        "middle": ((middle[:, 0] > 0) == is_middle).view(features.shape[0], -1).all(1).float().mean().item(),
    }
    return loss, hit | {"dense": loss.item()}


def place_loss(model, heads: Heads, states, batch) -> tuple[torch.Tensor, dict]:
    """How far the language model's layers are from saying where things are, and from looking there.

    Also returns, to log, the mean errors of the three place heads (in tokens, in tokens, in fractions of the picture)
    and how much one head looks at the middle of the shape that the next token speaks of.
    """
    height, width = batch.grid[1:]
    visual = batch.input_ids == model.config.image_token_id
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    cells = torch.stack((rows, columns), dim=-1).view(-1, 2).to(visual.device) / 10.0
    said = {
        "cell": heads.place["token"](states[PLACE_LAYERS["token"]][visual]).float(),
        "grid": heads.place["grid"](states[PLACE_LAYERS["grid"]][batch.branch > 0]).float(),
    }
    size = torch.tensor([height, width], device=cells.device) / 10.0
    true = {"cell": cells.repeat(len(said["cell"]) // len(cells), 1), "grid": size.expand_as(said["grid"])}
    asked = ~batch.target[:, 1:, 0].isnan()  # the next token speaks of a shape
    if asked.any():
        true["box"] = batch.target[:, 1:][asked]
        said["box"] = heads.place["box"](states[PLACE_LAYERS["box"]][:, :-1][asked]).float()
    loss = sum(PLACE_WEIGHTS[n] * F.smooth_l1_loss(said[n], true[n], beta=0.05) for n in said)
    log = {n: (said[n] - true[n]).abs().mean().item() * (1 if n == "box" else 10) for n in said}
    if asked.any():
        middle = (true["box"][:, :2] + true["box"][:, 2:]) / 2 * torch.tensor([width, height], device=cells.device)
        column, row = middle.long().T
        look = forward.looks(model, batch, states, POINTER_LAYER)[:, :-1][asked]
        look = look.gather(1, (visual[0].nonzero()[0] + row * width + column)[:, None])
        loss, log["looks"] = loss - POINTER_WEIGHT * look.mean(), look.exp().mean().item()
    return loss, log


def as_int4(weight: torch.Tensor, group: int = 128) -> torch.Tensor:
    """`weight` (rows, columns) as the default INT4 export will round it: asymmetric, 16 levels a group of one row."""
    grouped = weight.view(weight.shape[0], -1, group)
    low, high = grouped.amin(dim=2, keepdim=True).clamp(max=0), grouped.amax(dim=2, keepdim=True).clamp(min=0)
    scale = (high - low).clamp(min=1e-8) / 15
    zero = (-low / scale).round()
    return (((grouped / scale).round() + zero).clamp(0, 15).sub(zero) * scale).view_as(weight)


class TokenWeights:
    """Weight of each answer token in the loss: words that carry the answer count, filler hardly does."""

    def __init__(self, tokenizer):
        words = [*scenes.COLOURS, *scenes.SHAPES, *scenes.BACKGROUNDS, *questions.NUMBERS, *scenes.DIRECTIONS]
        words += ["top", "bottom", "middle", "first", "second", "there", "a", "on", ".", ",", "shapes"]
        ids = [tokenizer(f" {w}")["input_ids"][-1] for w in words]
        ids += [
            tokenizer(w)["input_ids"][0]
            for w in ("Yes", "No", "The", "There", "I", "It", "Both", "Please", "A", ".", ",")
        ]
        self.table = torch.full((len(tokenizer),), 0.15)
        self.table[ids] = 1.0
        coordinates = [tokenizer.convert_tokens_to_ids(str(v)) for v in range(0, 1001, questions.BOX_STEP)]
        self.table[coordinates] = 0.6


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


def sample_grid(rng, progress: float) -> tuple[int, int, int]:
    """Grid of a picture: at first up to 49 tokens, then 100; later a quarter of the batches have 100 to 400."""
    if progress > 0.3 and rng.random() < 0.25:
        return (1, *batches.sample_grid(rng, 100, 400))
    return (1, *batches.sample_grid(rng, 16, 49 if progress < 0.1 else 100))


def picture_batch(rng, packer, progress: float, visual_tokens: int) -> batches.Batch:
    """Questions about single pictures, simple ones first."""
    grid = sample_grid(rng, progress)
    kinds = FIRST_KINDS if progress < 0.08 else questions.KINDS
    size = min(18, max(4, visual_tokens // (grid[1] * grid[2])))
    return batches.image_batch(rng, packer, size, grid, kinds, most=2 if progress < 0.04 else scenes.MAX_SHAPES)


def dense_batch(rng, packer, progress: float, visual_tokens: int) -> batches.Batch:
    """Pictures for what each visual token covers; their questions go unused."""
    grid = sample_grid(rng, progress)
    return batches.image_batch(rng, packer, max(4, visual_tokens // (grid[1] * grid[2])), grid, ("colour",), count=1)


def other_batch(rng, packer) -> batches.Batch:
    """Two pictures, a video, or none."""
    kind = rng.choice(["pair", "pair", "video", "video", "text"])
    grid = batches.sample_grid(rng, 16, 49)
    if kind == "pair":
        return batches.pair_batch(rng, packer, max(3, 200 // (grid[0] * grid[1])), (1, *grid))
    if kind == "video":
        return batches.video_batch(rng, packer, 4, (rng.randint(2, 4), *grid))
    return batches.text_batch(rng, packer, 8, count=3)


class Trainer:
    """One stage of training: its data, optimizers, checkpoint and log."""

    def __init__(self, options):
        self.options, self.device = options, torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.folder = Path(options.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.processor = self._processor()
        self.model = build_model(self.processor.tokenizer).to(self.device)
        self.heads = Heads(self.model.config.text_config.hidden_size).to(self.device)
        self.packer, self.table = batches.Packer(self.processor), TokenWeights(self.processor.tokenizer).table
        self.steps = options.steps or STEPS[options.stage]
        self.step, self.rng = 0, random.Random(f"{options.seed} {options.stage}")
        self.optimizers = self._optimizers()
        self._resume()

    def _optimizers(self):
        named = dict(self.model.named_parameters()) | {f"heads.{n}": p for n, p in self.heads.named_parameters()}
        matrices = [p for n, p in named.items() if p.ndim == 2 and "embed" not in n and not n.startswith("heads")]
        taken = {id(p) for p in matrices}
        rest = [p for p in named.values() if id(p) not in taken]
        self.parameters = [*matrices, *rest]
        rate = self.options.rate
        precision = torch.bfloat16 if self.options.bfloat16 else torch.float32
        optimizers = [
            Muon(matrices, lr=0.02 * rate, precision=precision),
            torch.optim.AdamW(rest, lr=2e-3 * rate, betas=(0.9, 0.98), weight_decay=0.01),
        ]
        for optimizer in optimizers:
            optimizer.defaults["peak"] = optimizer.param_groups[0]["lr"]
        return optimizers

    def _processor(self):
        """Built at the first start and kept beside the checkpoints: what a token means must not change under them."""
        kept = self.folder / "processor"
        if not kept.exists():
            build_processor().save_pretrained(kept)
        return AutoProcessor.from_pretrained(kept)

    def checkpoint(self, stage: str) -> Path:
        return self.folder / f"{stage}.pt"

    def save(self):
        state = {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "step": self.step,
            "rng": self.rng.getstate(),
            "torch": torch.get_rng_state(),
        }
        part = self.checkpoint(self.options.stage).with_suffix(".part")
        torch.save(state, part)
        part.replace(self.checkpoint(self.options.stage))

    def _resume(self):
        """Go on where this stage stopped, else start it from the weights that the stage before it (or --start) left."""
        own, before = self.checkpoint(self.options.stage), Path(self.options.start or self.checkpoint("vision"))
        source = own if own.exists() else before if self.options.stage == "joint" else None
        if source is None:
            return
        state = torch.load(source, map_location="cpu", weights_only=False)
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        if source == own:
            self.step = state["step"]
            self.rng.setstate(state["rng"])
            torch.set_rng_state(state["torch"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)

    def schedule(self):
        """Warm-up over 100 steps, constant, then a linear fall over the last half."""
        factor = min(1, (self.step + 1) / 100, 2 * (1 - self.step / self.steps) + 0.002)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = optimizer.defaults["peak"] * factor

    def draw(self):
        """The batches of one step: (weight, whether it is for the dense labels only, batch).

        What is rarer or easier goes along with a small weight: alone in a step, its gradients would rule the update,
        because Muon's updates all have one size.
        """
        progress = self.step / self.steps
        if self.options.stage == "vision":
            yield 1.0, True, dense_batch(self.rng, self.packer, progress, VISION_TOKENS)
            return
        yield 1.0, False, picture_batch(self.rng, self.packer, progress, JOINT_TOKENS)
        yield DENSE_WEIGHT, True, dense_batch(self.rng, self.packer, progress, PRACTICE_TOKENS)
        if progress > 0.2 and self.rng.random() < 0.6:
            yield OTHER_WEIGHT, False, other_batch(self.rng, self.packer)

    def losses(self, batch, dense: bool) -> tuple[torch.Tensor, dict]:
        """Loss of one batch, and what to log."""
        features = None
        if batch.media:
            slices = len(batch.labels) * batch.media * batch.grid[0]
            features = forward.see(self.model.model.visual, batch.pixel_values, slices, batch.grid[1:])
        if dense:
            return dense_loss(self.heads, features, batch.covers)
        states = forward.read(self.model, batch, features)
        total, right = answer_loss(self.model, states[-1], batch, self.table)
        log = {"exact": exact_by_kind(batch, right)}
        if batch.media == 1 and not batch.video:
            place, errors = place_loss(self.model, self.heads, states, batch)
            total, log = total + place, log | errors | {"loss": total.item()}
        return total, log

    @contextlib.contextmanager
    def rounded(self):
        """Inside, the language model's layers are as the INT4 export rounds them; the exact weights are what learns."""
        layers = self.model.model.language_model.layers
        exact = {p: p.data for p in layers.parameters() if p.ndim == 2} if self.options.int4 else {}
        for parameter, data in exact.items():
            parameter.data = as_int4(data)
        yield
        for parameter, data in exact.items():
            parameter.data = data

    def backward(self) -> dict:
        """Gradients of one step; returns what to log."""
        logs = {"exact": {}}
        for weight, dense, batch in self.draw():
            for name in ("pixel_values", "input_ids", "labels", "branch", "target", "covers"):
                setattr(batch, name, getattr(batch, name).to(self.device))
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bfloat16):
                loss, log = self.losses(batch, dense)
            (weight * loss).backward()
            logs["exact"] |= log.pop("exact", {})
            logs |= log
        return logs

    def train(self, until: int | None = None):
        """Take the steps that are left of the stage, or those up to `until`; checkpoint and report on the way."""
        began, until, tally, logs = time.time(), until or self.steps, {}, []
        while self.step < until:
            self.schedule()
            with self.rounded():
                log = self.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad()
            self.step += 1
            logs.append({k: v for k, v in log.items() if k != "exact"})
            for kind, (good, asked) in log.get("exact", {}).items():
                sums = tally.setdefault(kind, [0, 0])
                sums[0], sums[1] = sums[0] + good, sums[1] + asked
            if self.step % 50 == 0 or self.step == until:
                self.report(logs, tally, time.time() - began)
                tally, logs = {}, []
            if self.step % 125 == 0 or self.step == until:
                self.save()

    def report(self, logs, tally, seconds):
        """One line on the screen and in the log: means since the last one."""
        names = sorted({n for log in logs for n in log})
        values = {n: [log[n] for log in logs if n in log and log[n] == log[n]] for n in names}
        row = {"stage": self.options.stage, "step": self.step, "of": self.steps, "seconds": round(seconds)}
        row |= {n: round(sum(v) / len(v), 3) for n, v in values.items() if v}
        row["exact"] = {k: round(good / asked, 3) for k, (good, asked) in sorted(tally.items())}
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        print(" ".join(f"{k} {v}" for k, v in row.items()), flush=True)

    def export(self):
        """Write the model as a Hugging Face folder, in half precision, and the log beside it."""
        copy.deepcopy(self.model).to(torch.float16).save_pretrained(WEIGHTS)
        self.processor.save_pretrained(WEIGHTS)
        shutil.copy(self.folder / "log.jsonl", WEIGHTS.parent)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=STEPS, required=True)
    parser.add_argument("--steps", type=int, help="length of the stage, which sets its learning-rate schedule")
    parser.add_argument("--until", type=int, help="stop after this many steps of the stage, to go on later")
    parser.add_argument("--start", help="checkpoint to start the joint stage from, instead of the vision stage's")
    parser.add_argument("--rate", type=float, default=1.0, help="multiplies the learning rates")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", default="build/train", help="checkpoints and the log")
    parser.add_argument("--int4", action="store_true", help="learn with weights rounded as the INT4 export does")
    parser.add_argument(
        "--bfloat16", action="store_true", help="matrix products in bfloat16: faster where the CPU or GPU has it"
    )
    options = parser.parse_args()
    torch.set_flush_denormal(True)  # denormals slow small models' gradients on CPUs
    trainer = Trainer(options)
    trainer.train(options.until)
    if options.stage == "joint":
        trainer.export()


if __name__ == "__main__":
    main()
