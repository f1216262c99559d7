"""What the notebook needs around the model. Each name lives in a file of its own subject, in the rooms behind.

    catalog/        which models there are, what each costs, downloads, folders, what is on disk, opening one
    environment/    this machine: versions, telemetry, devices and their check, memory and disk
    figures/        what the notebook draws
    tiny_model/     a picture and questions for the chosen model

Not here: exporting (`cmd_helper.py`), chatting (`chat_session.py`), the page (`gradio_helper.py`). Importing this does
no work; `python -m notebook_utils check` describes this machine for a bug report.
"""

from adapters.qwen_vl import is_practice_model
from catalog.choices import ModelChoice, model_choices
from catalog.costs import costs_table
from catalog.downloads import DownloadError, download_file
from catalog.errors import ModelFolderError
from catalog.hub import HubError, fetch_model
from catalog.manifest import verify_hashes
from catalog.model_folder import require_model_dir, require_source_dir
from catalog.model_widget import model_widget
from catalog.on_disk import ModelOnDisk, delete_model, list_models_on_disk, size_of
from catalog.open import load_processor, open_model
from catalog.presets import PRESETS, measured_presets
from environment.device_check import DeviceCheckError, self_check
from environment.devices import DeviceError, device_widget, require_device
from environment.machine import this_machine
from environment.telemetry import collect_telemetry, turn_off_library_telemetry
from environment.versions import VersionError, check_versions
from figures.charts import bar_chart, position_chart
from figures.pictures import draw_box, side_by_side, token_grid
from session.media import load_image
from tiny_model.example import example_for

__all__ = [
    "PRESETS",
    "DeviceCheckError",
    "DeviceError",
    "DownloadError",
    "HubError",
    "ModelChoice",
    "ModelFolderError",
    "ModelOnDisk",
    "VersionError",
    "bar_chart",
    "check_versions",
    "collect_telemetry",
    "costs_table",
    "delete_model",
    "device_widget",
    "download_file",
    "draw_box",
    "example_for",
    "fetch_model",
    "is_practice_model",
    "list_models_on_disk",
    "load_image",
    "load_processor",
    "measured_presets",
    "model_choices",
    "model_widget",
    "open_model",
    "position_chart",
    "require_device",
    "require_model_dir",
    "require_source_dir",
    "self_check",
    "side_by_side",
    "size_of",
    "this_machine",
    "token_grid",
    "turn_off_library_telemetry",
    "verify_hashes",
]

if __name__ == "__main__":  # python -m notebook_utils check
    import sys

    from catalog.on_disk import MODELS_DIR, export_lines
    from environment.report import main

    sys.exit(main(sys.argv[1:], MODELS_DIR, export_lines))
