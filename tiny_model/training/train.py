"""Train the practice model: `python -m tiny_model.training.train --stage vision`, then `--stage joint --int4`.

Two stages, both counted in steps so that a seed reproduces them, both resumable (the same command goes on from the
last checkpoint):
1. vision: throw-away linear heads on the visual tokens learn what each token covers (dense labels);
2. joint: answers, with the dense labels kept, and three more throw-away heads that make place explicit inside the
language model: early layers say the row and column of a visual token and the size of the grid, a later one the box of
what the answer speaks of.

Not here: how batches are made (`batches`), what is minimised (`losses`), how the result is measured
(`tiny_model.evaluate`).
"""

import argparse
import contextlib
import copy
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import AutoProcessor, Qwen2VLForConditionalGeneration

from tiny_model import questions, scenes
from tiny_model.training import batches, forward, losses
from tiny_model.training.architecture import build_model, build_processor
from tiny_model.training.muon import Muon

FOLDER = Path(__file__).parent.parent  # tiny_model/
WEIGHTS = FOLDER / "weights"
LOG = FOLDER / "log.jsonl"
STEPS = {"vision": 2000, "joint": 6000}
VISION_TOKENS, JOINT_TOKENS, OTHER_TOKENS = 1600, 800, 320  # visual tokens of one batch
DENSE_WEIGHT, OTHER_WEIGHT = 0.5, 0.4  # in the joint stage, see Trainer.loss_of and Trainer.draw
FIRST_KINDS = ("colour", "shape", "where", "count", "is_there")
HARDER = ("conversation", *["describe"] * 3, "count", "count", "many", "locate", "follow_up")  # asked more often
ALL_KINDS = (*questions.KINDS, *HARDER)
LESSONS = 0.3  # share of the joint stage that goes from simple to all; a trained model has it behind it
CHATS = 0.25  # share of the batches that are long conversations, after the lessons
SAVE_EVERY, REPORT_EVERY = 125, 50  # steps
TENSORS = ("pixel_values", "input_ids", "labels", "branch", "target", "pointers", "covers")  # of a batch


def sample_grid(rng, progress: float) -> tuple[int, int, int]:
    """Grid of a picture: at first up to 49 tokens, then 100; later a third of the batches have 100 to 400."""
    if progress >= LESSONS and rng.random() < 0.35:
        return (1, *batches.sample_grid(rng, 100, 400))
    return (1, *batches.sample_grid(rng, 16, 49 if progress < 0.1 else 100))


def picture_batch(rng, packer, progress: float, visual_tokens: int) -> batches.Batch:
    """Questions about single pictures, simple ones first."""
    grid = sample_grid(rng, progress)
    size = min(visual_tokens // 44, max(4, visual_tokens // (grid[1] * grid[2])))
    if progress >= LESSONS and rng.random() < CHATS:
        return batches.image_batch(rng, packer, size, grid, ("chat",), count=1)
    kinds = FIRST_KINDS if progress < 0.08 else ALL_KINDS
    return batches.image_batch(rng, packer, size, grid, kinds, most=2 if progress < 0.04 else scenes.MAX_SHAPES)


def dense_batch(rng, packer, progress: float, visual_tokens: int) -> batches.Batch:
    """Pictures for what each visual token covers; their questions go unused."""
    grid = sample_grid(rng, progress)
    return batches.image_batch(rng, packer, max(4, visual_tokens // (grid[1] * grid[2])), grid, ("colour",), count=1)


def other_batch(rng, packer, visual_tokens: int) -> batches.Batch:
    """Two pictures, together or one after the other, a video, or none."""
    kind = rng.choice([*["pair", "new_picture"] * 3, "video", "video", "text"])
    if kind in ("pair", "new_picture"):
        grids = [(1, *batches.sample_grid(rng, 16, 144)) for _ in range(2)]
        make = batches.pair_batch if kind == "pair" else batches.new_picture_batch
        return make(rng, packer, max(3, visual_tokens // sum(h * w for _, h, w in grids)), grids)
    if kind == "video":
        return video_batch(rng, packer, visual_tokens)
    return batches.text_batch(rng, packer, 8, count=3)


def video_batch(rng, packer, visual_tokens: int) -> batches.Batch:
    """Videos of two to six temporal slices."""
    grid = (rng.randint(2, 6), *batches.sample_grid(rng, 16, 49))
    return batches.video_batch(rng, packer, max(3, visual_tokens // (grid[0] * grid[1] * grid[2])), grid)


class Steps(Dataset):
    """What is trained on at each step: {step: [(weight in the loss, batch), …]}.

    A step's random numbers depend on the seed, the stage and the step alone, so how many processes draw (`--workers`)
    and where a training was interrupted change nothing.

    trained: the weights have the lessons behind them. size: visual tokens of a batch, 1 being what two cores bear.
    """

    def __init__(self, packer: batches.Packer, stage: str, steps: int, *, seed: int, trained: bool, size: float):
        self.packer = packer
        self.stage = stage
        self.steps = steps
        self.seed = seed
        self.trained = trained
        self.size = size

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> list[tuple[float, batches.Batch]]:
        """What is rarer or easier goes along with a small weight: alone in a step, its gradients would rule the update,
        because Muon's updates all have one size.
        """
        rng = random.Random(f"{self.seed} {self.stage} {step}")
        progress = max(step / self.steps, LESSONS if self.trained else 0)
        others = round(OTHER_TOKENS * self.size)
        if self.stage == "vision":
            pictures = dense_batch(rng, self.packer, progress, round(VISION_TOKENS * self.size))
            return [(1.0, pictures), (OTHER_WEIGHT, video_batch(rng, self.packer, others))]
        drawn = [(1.0, picture_batch(rng, self.packer, progress, round(JOINT_TOKENS * self.size)))]
        if progress > 0.2 and rng.random() < 0.8:
            drawn.append((OTHER_WEIGHT, other_batch(rng, self.packer, others)))
        return drawn


def add_up(tally: dict[str, list[int]], more: dict[str, list[int]]) -> None:
    """Add {kind: [right, asked]} to a tally of the same form."""
    for kind, counts in more.items():
        tally[kind] = [a + b for a, b in zip(tally.get(kind, (0, 0)), counts, strict=True)]


class Trainer:
    """One stage of training: its data, optimizers, checkpoint and log.

    options: those of the command line (see `main`). A checkpoint that is there already is gone on from.
    """

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.folder = Path(options.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.processor = self._processor()
        self.model = build_model(self.processor.tokenizer).to(self.device)
        self.heads = losses.Heads(self.model.config.text_config.hidden_size).to(self.device)
        self.packer = batches.Packer(self.processor)
        self.token_weights = losses.token_weights(self.processor.tokenizer)
        self.steps = options.steps or STEPS[options.stage]
        self.step = 0
        self.optimizers = self._optimizers()
        self._resume()

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        """Muon for the model's matrices; AdamW for embeddings, biases, norms, convolutions and the throw-away heads."""
        named = dict(self.model.named_parameters()) | {f"heads.{n}": p for n, p in self.heads.named_parameters()}
        matrices = [p for n, p in named.items() if p.ndim == 2 and "embed" not in n and not n.startswith("heads")]
        matrix_ids = {id(p) for p in matrices}
        rest = [p for p in named.values() if id(p) not in matrix_ids]
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
        folder = self.folder / "processor"
        if not folder.exists():
            start = Path(self.options.start or "")
            processor = AutoProcessor.from_pretrained(start) if (start / "config.json").exists() else build_processor()
            processor.save_pretrained(folder)
        return AutoProcessor.from_pretrained(folder)

    def checkpoint(self, stage: str) -> Path:
        """The file that `stage` goes on from."""
        return self.folder / f"{stage}.pt"

    def save(self) -> None:
        """Write the checkpoint: all that a stage needs to go on as if it had never stopped."""
        state = {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "step": self.step,
        }
        part = self.checkpoint(self.options.stage).with_suffix(".part")
        torch.save(state, part)
        part.replace(self.checkpoint(self.options.stage))

    def _resume(self) -> None:
        """Go on where this stage stopped, else start it from the weights that the stage before it (or --start) left."""
        own = self.checkpoint(self.options.stage)
        before = Path(self.options.start or self.checkpoint("vision"))
        self.was_trained = before.is_dir() or before.stem == "joint"
        if own.exists():
            source = own
        elif self.options.stage == "joint":
            source = before
        else:
            return
        if source.is_dir():  # a trained model; the heads, which are not part of it, are learnt anew
            trained = Qwen2VLForConditionalGeneration.from_pretrained(source, dtype=torch.float32)
            self.model.load_state_dict(trained.state_dict())
            return
        state = torch.load(source, map_location="cpu", weights_only=False)
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        if source == own:
            self.step = state["step"]
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)

    def schedule(self) -> None:
        """Set the learning rates of the next step: warm-up over 100 steps, constant, linear fall over the last half."""
        factor = min(1, (self.step + 1) / 100, 2 * (1 - self.step / self.steps) + 0.002)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = optimizer.defaults["peak"] * factor

    def batches_of_steps(self) -> Iterator[list[tuple[float, batches.Batch]]]:
        """The batches of each step that is left, drawn ahead in --workers processes."""
        options = self.options
        drawn = Steps(
            self.packer, options.stage, self.steps, seed=options.seed, trained=self.was_trained, size=options.size
        )
        left = range(self.step, self.steps)
        return iter(DataLoader(drawn, batch_size=None, sampler=left, num_workers=options.workers))

    def loss_of(self, batch: batches.Batch) -> tuple[torch.Tensor, dict]:
        """Loss of one batch, and what to log: encode its pictures, forward the language model, compare."""
        features = forward.encode_media(self.model, batch)
        if features:
            covered, hits = losses.dense_loss(self.heads, features, batch.covers)
            log = {"motion": hits["motion"]} if batch.video else hits
        if self.options.stage == "vision":
            return covered, log
        states = forward.forward_language(self.model, batch, features)
        total, right = losses.answer_loss(self.model, states[-1], batch, self.token_weights)
        exact = {"exact": losses.exact_by_kind(batch, right)}
        if not features:
            return total, exact
        place, errors = losses.place_loss(self.model, self.heads, states, batch)
        if len(batch.grids) == 1 and not batch.video:
            log |= errors | {"loss": total.item()}
        return total + place + DENSE_WEIGHT * covered, log | exact

    @contextlib.contextmanager
    def rounded(self) -> Iterator[None]:
        """Inside, with --int4, the language model's layers are as the INT4 export rounds them; the exact weights are
        what learns.
        """
        layers = self.model.model.language_model.layers
        exact = {p: p.data for p in layers.parameters() if p.ndim == 2} if self.options.int4 else {}
        for parameter, data in exact.items():
            parameter.data = losses.as_int4(data)
        yield
        for parameter, data in exact.items():
            parameter.data = data

    def backward(self, drawn: list[tuple[float, batches.Batch]]) -> dict:
        """Gradients of one step; returns what to log."""
        logs: dict = {}
        exact: dict[str, list[int]] = {}
        for weight, batch in drawn:
            for name in TENSORS:
                setattr(batch, name, getattr(batch, name).to(self.device))
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bfloat16):
                loss, log = self.loss_of(batch)
            (weight * loss).backward()
            add_up(exact, log.pop("exact", {}))
            logs |= {name: value for name, value in log.items() if name not in logs or math.isnan(logs[name])}
        return logs | {"exact": exact}

    def train(self, until: int | None = None) -> None:
        """Take the steps that are left of the stage, or those up to `until`; checkpoint and report on the way."""
        started = time.time()
        until = until or self.steps
        tally: dict[str, list[int]] = {}
        logs: list[dict] = []
        drawn = self.batches_of_steps()
        while self.step < until:
            self.schedule()
            with self.rounded():
                log = self.backward(next(drawn))
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad()
            self.step += 1
            logs.append({k: v for k, v in log.items() if k != "exact"})
            add_up(tally, log["exact"])
            if self.step % REPORT_EVERY == 0 or self.step == until:
                self.report(logs, tally, time.time() - started)
                tally, logs = {}, []
            if self.step % SAVE_EVERY == 0 or self.step == until:
                self.save()

    def report(self, logs: list[dict], tally: dict[str, list[int]], seconds: float) -> None:
        """One line on the screen and in the log: means since the last one."""
        names = sorted({n for log in logs for n in log})
        values = {n: [log[n] for log in logs if n in log and not math.isnan(log[n])] for n in names}
        stage = "joint again" if self.was_trained else self.options.stage
        row = {"stage": stage, "step": self.step, "of": self.steps, "seconds": round(seconds)}
        row |= {n: round(sum(v) / len(v), 3) for n, v in values.items() if v}
        row["exact"] = {k: round(good / asked, 3) for k, (good, asked) in sorted(tally.items())}
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        print(" ".join(f"{k} {v}" for k, v in row.items()), flush=True)

    def export(self) -> None:
        """Write the model as a Hugging Face folder, in half precision, and the log beside it.

        Going on from trained weights, the log goes on as well.
        """
        copy.deepcopy(self.model).to(torch.float16).save_pretrained(WEIGHTS)
        self.processor.save_pretrained(WEIGHTS)
        with open(LOG, "a" if self.was_trained else "w", encoding="utf-8") as log:
            log.write((self.folder / "log.jsonl").read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=STEPS, required=True)
    parser.add_argument("--steps", type=int, help="length of the stage, which sets its learning-rate schedule")
    parser.add_argument("--until", type=int, help="stop after this many steps of the stage, to go on later")
    parser.add_argument("--start", help="where the joint stage starts: a checkpoint, or a model folder")
    parser.add_argument("--rate", type=float, default=1.0, help="multiplies the learning rates")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=float, default=1.0, help="multiplies the batches: 2 or more for a GPU")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw batches ahead: for a GPU")
    parser.add_argument("--folder", default="build/train", help="checkpoints and the log")
    parser.add_argument("--int4", action="store_true", help="learn with weights rounded as the INT4 export does")
    parser.add_argument(
        "--bfloat16", action="store_true", help="matrix products in bfloat16: faster where the CPU or GPU has it"
    )
    options = parser.parse_args()
    torch.set_flush_denormal(True)  # denormals slow small models' gradients on CPUs
    torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew for every shape, and every batch has another
    trainer = Trainer(options)
    trainer.train(options.until)
    if options.stage == "joint":
        trainer.export()


if __name__ == "__main__":
    main()
