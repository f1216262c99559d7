"""One picture of the rows of `speed`: seconds to the first token, a group of bars for each situation."""

from pathlib import Path

import matplotlib

from benchmarks.scenario import SITUATIONS

matplotlib.use("Agg")  # draws into files, where there is no screen
from matplotlib import pyplot

GROUP_WIDTH = 0.8  # of the distance between two groups


def plot(rows: list[dict], path: Path) -> None:
    """rows: those that `--json` writes. What an engine could not do has no bar."""
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
