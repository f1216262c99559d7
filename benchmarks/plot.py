"""Pictures of the rows of `speed` and of `growth`: seconds to the first token."""

from pathlib import Path

import matplotlib

from benchmarks.scenario import SITUATIONS

matplotlib.use("Agg")  # draws into files, where there is no screen
from matplotlib import pyplot

LABELS = {"pictures": "a square picture, pixels of a side", "videos": "a video of 224 × 224 pixels, frames"}
GROUP_WIDTH = 0.8  # of the distance between two groups


def plot(rows: list[dict], path: Path) -> None:
    """rows of `speed`: a group of bars for each situation. What an engine could not do has no bar."""
    figure, axes = pyplot.subplots(figsize=(9, 4), layout="constrained")
    width = GROUP_WIDTH / len(rows)
    for number, row in enumerate(rows):
        offset = (number - (len(rows) - 1) / 2) * width
        seconds = {group: row[f"ttft_{name}_s"] for group, name in enumerate(SITUATIONS)}
        known = {group: value for group, value in seconds.items() if value is not None}
        axes.bar([group + offset for group in known], list(known.values()), width, label=row["engine"])
    axes.set_xticks(range(len(SITUATIONS)), [name.replace("_", " ") for name in SITUATIONS])
    axes.set_ylabel("seconds to the first token")
    axes.legend()
    figure.savefig(path, format="png", dpi=120)
    pyplot.close(figure)


def plot_growth(rows: list[dict], path: Path) -> None:
    """rows of `growth`: a line for each engine, over pictures on the left, over videos on the right; of those that were
    measured.
    """
    labels = {kind: label for kind, label in LABELS.items() if any(row["kind"] == kind for row in rows)}
    figure, panels = pyplot.subplots(1, len(labels), figsize=(9, 4), layout="constrained", sharey=True, squeeze=False)
    for axes, (kind, label) in zip(panels[0], labels.items(), strict=True):
        for engine in dict.fromkeys(row["engine"] for row in rows):  # in each panel in the same order, so colour
            found = [row for row in rows if (row["engine"], row["kind"]) == (engine, kind)]
            axes.plot([row["size"] for row in found], [row["first_token_s"] for row in found], "o-", label=engine)
        axes.set_xticks(sorted({row["size"] for row in rows if row["kind"] == kind}))
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    panels[0, 0].set_ylabel("seconds to the first token")
    panels[0, 0].legend()
    figure.savefig(path, format="png", dpi=120)
    pyplot.close(figure)
