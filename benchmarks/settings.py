"""OpenVINO's settings of the language model, side by side: `python -m benchmarks settings MODEL_DIR`.

Each of SETTINGS is compiled once, in one process, and all of them take turns, because a machine's speed changes by the
minute: a prompt of PROMPT_TOKENS, then STEPS steps of one token behind it. Medians over the rounds, times those of the
default; cosine is that of the logits after the prompt to the default's.

`--ov-config` of `speed` tries one setting on everything. Not here: the vision encoder, other tokens than random ones.
"""

import argparse
import random
import time
from pathlib import Path
from statistics import median

from tabulate import tabulate

from benchmarks import records
from benchmarks.engine_options import setting
from benchmarks.options import add_child, add_model_dir, check_plot
from benchmarks.processes import needed, report

GROUP_SIZE, KV_CACHE, PRECISION = "DYNAMIC_QUANTIZATION_GROUP_SIZE", "KV_CACHE_PRECISION", "INFERENCE_PRECISION_HINT"
SETTINGS = [{}, {GROUP_SIZE: "64"}, {GROUP_SIZE: "128"}, {KV_CACHE: "f16"}, {KV_CACHE: "bf16"}, {PRECISION: "f16"}]
PROMPT_TOKENS, STEPS = 463, 12
COLUMNS = ("setting", "prompt_s", "token_ms", "prompt, ×", "token, ×", "cosine")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_dir(parser)
    parser.add_argument("--ov-config", type=setting, nargs="+", action="append", metavar="KEY=VALUE",
                        help="settings to try together, beside the default; may be given several times")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=4, help="after a warm one; default: 4")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.set_defaults(plot=None)
    add_child(parser)


def run(options: argparse.Namespace) -> int:
    check_plot(options)
    given = [{}, *map(dict, options.ov_config)] if options.ov_config else SETTINGS
    if options.child:
        return report({"rows": measure(options.model_dir, given, options.rounds)})
    arguments = [options.model_dir, "--rounds", options.rounds, "--child", "all"]
    for together in options.ov_config or []:
        arguments += ["--ov-config", *(f"{key}={value}" for key, value in together)]
    rows = needed("settings", arguments)["rows"]
    print(tabulate([cells(row, rows[0]) for row in rows], COLUMNS, tablefmt="github", disable_numparse=True))
    if options.json:
        records.write_rows(options.json, rows)
    return 0


def cells(row: dict, default: dict) -> list[str]:
    if "reason" in row:
        return [row["setting"], row["reason"], *"–" * (len(COLUMNS) - 2)]
    ratios = [f"{row[key] / default[key]:.2f}" for key in ("prompt_s", "token_ms")]
    return [row["setting"], f"{row['prompt_s']:.2f}", f"{row['token_ms']:.1f}", *ratios, f"{row['cosine']:.4f}"]


# ---- the child -------------------------------------------------------------------------------------------------------


def measure(folder: Path, all_settings: list[dict[str, str]], rounds: int) -> list[dict]:
    """One row for each of `all_settings`; a setting that OpenVINO refuses has a reason instead of figures."""
    models, rows = {}, {}
    for number, settings in enumerate(all_settings):
        rows[number] = {"setting": ", ".join(f"{key}={value}" for key, value in settings.items()) or "default"}
        try:
            models[number] = open_model(folder, settings)
        except RuntimeError as error:
            rows[number]["reason"] = " ".join(str(error).split())[-100:]
    found = {number: [] for number in models}
    for turn in range(rounds + 1):
        to_and_fro = list(models) if turn % 2 == 0 else reversed(models)
        for number in to_and_fro:
            found[number].append(one_round(models[number], turn))
    for number, measured in found.items():
        prompt_s, token_ms, logits = (list(values) for values in zip(*measured[1:], strict=True))
        default = [round_[2] for round_ in found[0][1:]]
        rows[number] |= {"prompt_s": median(prompt_s), "token_ms": median(token_ms),
                         "cosine": median(map(cosine, logits, default))}  # fmt: skip
    return list(rows.values())


def open_model(folder: Path, settings: dict[str, str]):
    """A session's view of the model, with `settings`."""
    from catalog import open as catalog_open
    from session.ov_model import VisionLanguageModel

    return VisionLanguageModel(catalog_open.open_model(folder, "CPU", ov_config=settings or None)[0])


def one_round(model, seed: int) -> tuple:
    """(seconds of the prompt, median milliseconds of a token behind it, logits after the prompt)."""
    import numpy as np

    cache, rng = model.new_cache(), random.Random(seed)

    def forward(tokens: int):
        embeddings = model.embed([rng.randrange(300, 1000) for _ in range(tokens)])  # words
        position_ids = np.tile(np.arange(cache.length, cache.length + tokens), (3, 1))
        began = time.perf_counter()
        logits = cache.forward(embeddings, position_ids)
        return time.perf_counter() - began, logits[-1]

    prompt_s, logits = forward(PROMPT_TOKENS)
    steps = [1000 * forward(1)[0] for _ in range(STEPS)]
    return prompt_s, median(steps[1:]), logits


def cosine(a, b) -> float:
    import numpy as np

    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))
