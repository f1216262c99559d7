"""What to export, for what a caller names: a folder, a folder in the hub's cache, or a name on the hub.

    find_source("Qwen/Qwen2-VL-2B-Instruct")     # location and name are that
    find_source(fetch_model("Qwen/..."))         # location: .../models--Qwen--.../snapshots/<revision>; the same name
    find_source("~/my model")                    # both are the folder

The name is what people are shown, and what is recorded: a path would say whose machine this is, and nothing about the
model. Not here: downloading (`catalog/hub.py`).
"""

import re
from dataclasses import dataclass
from pathlib import Path

from catalog.hub import is_hub_id
from catalog.model_folder import broken_weights

# .../models--<owner>--<name>/snapshots/<revision>: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
CACHED = re.compile(r"models--(.+)")


@dataclass(frozen=True)
class ModelSource:
    """location: what the exporter gets, a folder or a name on the hub. name: what is shown and recorded. revision: the
    commit on the hub, None where it is not known.
    """

    location: str
    name: str
    revision: str | None = None

    @property
    def is_folder(self) -> bool:
        return self.location != "" and Path(self.location).is_dir()  # an empty path would mean the current folder

    def problem(self) -> str | None:
        """What makes an export from here pointless, as a sentence; None where nothing is known."""
        if not self.is_folder:
            if is_hub_id(self.location):
                return None
            return f"There is no folder {self.name!r}, and a model on the hub is named owner/name."
        for file in sorted(Path(self.location).glob("*.safetensors")):
            if problem := broken_weights(file):
                return f"{self.name} is not a whole model: {problem}. Download or copy it again."
        return None


def find_source(model) -> ModelSource:
    """The source that `model`, a folder or a name on the hub, stands for. Nothing is downloaded or checked."""
    folder = Path(model).expanduser()
    if str(model) == "" or not folder.is_dir():
        return ModelSource(str(model), str(model))
    snapshots = folder.absolute().parent
    cached = CACHED.fullmatch(snapshots.parent.name)
    if snapshots.name == "snapshots" and cached:
        return ModelSource(str(folder), name=cached[1].replace("--", "/", 1), revision=folder.name)
    return ModelSource(str(folder), str(folder))


def downloaded_revision(name: str, cache_dir=None) -> str | None:
    """The revision of the model `name` that the hub's cache holds, after somebody has downloaded it; else None."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name, "config.json", cache_dir=cache_dir)
    except HFValidationError:
        return None
    return Path(config).parent.name if isinstance(config, str) else None
