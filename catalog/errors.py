"""What is wrong with a model's folder, as an error that says what to do; and JSON whose damage is such an error."""

import json
from pathlib import Path


class ModelFolderError(ValueError):
    """A folder that holds no model this tutorial can use; the message says what is wrong and what to do."""


def half_written(folder: Path, what: str) -> ModelFolderError:
    """The error for a model of which something is missing or damaged: `what`."""
    return ModelFolderError(f"{folder} is not a whole model: {what}. Delete the folder, then export or copy it again.")


def read_json(file: Path) -> dict:
    """The object in a model's JSON file. Raises ModelFolderError for anything else."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise half_written(file.parent, f"{file.name} is not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise half_written(file.parent, f"{file.name} is not valid: it holds {type(content).__name__}, not an object")
    return content
