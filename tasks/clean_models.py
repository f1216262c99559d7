"""What the exports in `models/` take on the disk, and the end of one that is named.

    .venv/bin/python -m tasks.clean_models
    .venv/bin/python -m tasks.clean_models --name Qwen2-VL-2B-Instruct/INT4

Here: the list as text. Not here: what may be deleted, which is nothing but what is on the list
(catalog/on_disk.py); downloads, which lie in the hub's own cache.
"""

import argparse
import sys

from catalog.errors import ModelFolderError
from catalog.on_disk import ModelOnDisk, delete_model, list_models_on_disk

LEFT = "left by an export that was interrupted or failed"


def main(argv=None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="List the exported models on this disk, or delete one.")
    parser.add_argument("--name", help="what to delete, as the list has it; without it nothing is deleted")
    name = parser.parse_args(argv).name
    try:
        if name is not None:
            print(f"{delete_model(name) / 1e6:,.1f} MB freed: {name}")
        print(listing(list_models_on_disk()))
    except (ModelFolderError, OSError) as error:
        print(f"clean-models: {error}", file=sys.stderr)
        return 1
    return 0


def listing(models: list[ModelOnDisk]) -> str:
    """A line for each model, and how to delete one."""
    if not models:
        return "There are no exported models in models/. Downloads from the hub are in its own cache: hf cache ls"
    lines = []
    for model in models:
        note = "" if model.whole else f"  ({LEFT})"
        lines.append(f"{model.size / 1e6:10,.1f} MB  {model.name}{note}")
    lines.append(f"To delete one: make clean-models NAME={models[0].name}")
    lines.append("Downloads from the hub are in its own cache: hf cache ls")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
