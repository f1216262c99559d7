"""Three ways to compress a model, by what matters most: options of the exporter, and what they gave.

    preset = PRESETS["smallest"]
    optimum_cli(folder, preset.export_folder(choice), additional_args=preset.options)

Sizes, speeds and answers were measured by `python -m benchmarks presets`, which writes benchmarks/results/presets.json.
Running the exporter is `cmd_helper`'s business.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from catalog.measurements import RESULTS

MEASURED = RESULTS / "presets.json"


@dataclass(frozen=True)
class Preset:
    """options: the exporter's, as optimum_cli takes them. folder: the last part of the path that it exports to."""

    options: dict
    folder: str

    def export_folder(self, choice) -> str:
        """Where the ModelChoice `choice` is exported to with this preset; what is exported already, stays."""
        return str(Path(choice.load_from).with_name(self.folder)) if choice.needs_export else choice.load_from


PRESETS = {
    # One number a group instead of two, and 4 bits for the output layer, too, which is a quarter of what is read for
    # each token of the 2B model.
    "smallest": Preset({"weight-format": "int4", "sym": True, "all-layers": True}, "INT4-smallest"),
    "balanced": Preset({"weight-format": "int4"}, "INT4"),  # the exporter's own defaults
    "closest to the original": Preset({"weight-format": "int8"}, "INT8"),
}


def measured_presets() -> dict[str, dict[str, float]]:
    """For each preset what it gave: disk_gb, memory_gb, first_word_s and tokens_s of random weights in the 2B shape;
    right, the practice model's share of right answers, and same, that of answers equal to its original's.
    """
    return json.loads(MEASURED.read_text(encoding="utf-8"))
