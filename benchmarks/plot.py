"""One picture of a benchmark's rows: seconds to the first token, a group of bars for each situation."""

from pathlib import Path

import matplotlib

from benchmarks.scenario import SITUATIONS

matplotlib.use("Agg")  # draws into files, where there is no screen
from matplotlib import pyplot


def plot(rows: list[dict], path: Path) -> None:
    """rows: those that `--json` writes. What an engine could not do has no bar."""
    figure, axes = pyplot.subplots(figsize=(9, 4), layout="constrained")
    width = 0.8 / len(rows)
    for number, row in enumerate(rows):
        bars = [(place, row[f"ttft_{name}_s"]) for place, name in enumerate(SITUATIONS)]
        places = [place + (number - (len(rows) - 1) / 2) * width for place, seconds in bars if seconds is not None]
        axes.bar(places, [seconds for _, seconds in bars if seconds is not None], width, label=row["engine"])
    axes.set_xticks(range(len(SITUATIONS)), [name.replace("_", " ") for name in SITUATIONS])
    axes.set_ylabel("seconds to the first token")
    axes.legend()
    figure.savefig(path, format="png", dpi=120)
    pyplot.close(figure)
