"""Execute the notebooks in place, for their outputs to be committed: after a change of its cells, the model, a helper.

    .venv/bin/python -m tasks.refresh_notebook

Here: what a committed notebook must not contain (warnings, paths of this machine, whatever changes from run to run).
Not here: running the cells (run_notebook.py), what is in them (qwen2-vl.ipynb,
docs/how-it-works.ipynb).
"""

import sys
from pathlib import Path

import nbformat

from notebook_utils import delete_model, list_models_on_disk
from tasks.run_notebook import NOTEBOOK, ROOT, drop_passing, execute, fail, join_streams

WIDGET = "application/vnd.jupyter.widget-view+json"  # shown as "not found" without the kernel; its text stays
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
MAX_BYTES = 300_000
NOTEBOOKS = (NOTEBOOK, ROOT / "docs" / "how-it-works.ipynb")


def main(paths=NOTEBOOKS) -> int:
    """Execute each of the notebooks and write it back, unless its outputs are unfit; returns the exit status."""
    delete_practice_exports()
    return max(refresh(path) for path in paths)


def refresh(path: Path) -> int:
    """The same for one of them."""
    notebook = nbformat.read(path, as_version=4)
    execute(notebook, path.parent)
    tidy(notebook)
    if problems := unfit(notebook):
        return fail("the notebook was not written:\n" + "\n".join(problems))
    nbformat.write(notebook, path)
    print(f"Written: {path.name}, {path.stat().st_size:,} bytes")
    return 0


def delete_practice_exports() -> None:
    """So that the export runs, and its tables are among the outputs."""
    for model in list_models_on_disk():
        if model.name.startswith("practice-model"):
            delete_model(model.name)


def tidy(notebook) -> None:
    """Take out, in place, what is of no use without the kernel, or differs from run to run."""
    join_streams(notebook)
    drop_passing(notebook)
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in code_cells(notebook):
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            data = output.get("data", {})
            data.pop(WIDGET, None)
            if "image/png" in data:
                data.pop("image/jpeg", None)  # the same picture twice


def unfit(notebook) -> list[str]:
    """What stands in the outputs that should not be committed, a line each."""
    found = []
    for cell in code_cells(notebook):
        number = cell.execution_count
        for output in cell.outputs:
            if output.get("name") == "stderr":
                found.append(f"cell {number} warns: {output.text.strip()[:200]}")
        text = nbformat.writes(nbformat.v4.new_notebook(cells=[cell]))
        for path in {str(ROOT), str(Path.home())} - {"/"}:
            if f"{path}/" in text:
                found.append(f"cell {number} shows the path {path}")
    size = len(nbformat.writes(notebook).encode())
    if size > MAX_BYTES:
        found.append(f"it has {size:,} bytes, more than {MAX_BYTES:,}")
    return found


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


if __name__ == "__main__":
    sys.exit(main())
