"""What the notebook needs around the model. Each name lives in `tutorial/`, in a file of its own subject.

Here: choosing a model and a device, downloads, versions, telemetry, checks of model folders, clean-up. Not here:
exporting (`cmd_helper.py`), chatting (`chat_session.py`), the page (`gradio_helper.py`). Importing this does no work;
`python -m notebook_utils check` describes this machine for a bug report.
"""

from tutorial.choices import DeviceError, device_widget, quantization_widget, require_device
from tutorial.costs import costs_table
from tutorial.downloads import DownloadError, download_file
from tutorial.hub import HubError, fetch_model
from tutorial.machine import this_machine
from tutorial.manifest import verify_hashes
from tutorial.model_folder import ModelFolderError, require_model_dir, require_source_dir
from tutorial.model_list import ModelChoice, model_choices
from tutorial.models_on_disk import ModelOnDisk, delete_model, list_models_on_disk, size_of
from tutorial.presets import PRESETS, measured_presets
from tutorial.self_check import DeviceCheckError, self_check
from tutorial.telemetry import collect_telemetry, turn_off_library_telemetry
from tutorial.versions import VersionError, check_versions

__all__ = [
    "PRESETS", "DeviceCheckError", "DeviceError", "DownloadError", "HubError", "ModelChoice", "ModelFolderError",
    "ModelOnDisk", "VersionError", "check_versions", "collect_telemetry", "costs_table", "delete_model",
    "device_widget", "download_file", "fetch_model", "list_models_on_disk", "measured_presets", "model_choices",
    "quantization_widget", "require_device", "require_model_dir", "require_source_dir", "self_check", "size_of",
    "this_machine", "turn_off_library_telemetry", "verify_hashes",
]

if __name__ == "__main__":  # python -m notebook_utils check
    import sys

    from tutorial.check import main

    sys.exit(main(sys.argv[1:]))
