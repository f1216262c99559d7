"""Execute the tutorial into `build/`, as a notebook and as HTML, and print its first answer.

    .venv/bin/python -m tasks.run_notebook

Here: running the cells in order in this very Python, progress and failures in plain words, the two files. Not here:
anything the tutorial itself says or does (qwen2-vl.ipynb). The tracked notebook is only read.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "qwen2-vl.ipynb"
BUILD = ROOT / "build"
LOADING = re.compile(r"Loading weights: .*%\|")
SET_UP = "the packages are not installed in this Python: run `make run`, or `python3 -m tasks.bootstrap` first"


def main(source=NOTEBOOK, build=BUILD) -> int:
    """Execute `source` into the folder `build`; returns the exit status."""
    try:
        import nbclient  # noqa: F401 (only to say in one line that the set-up is missing)
        import nbformat

        build.mkdir(exist_ok=True)
    except ModuleNotFoundError as error:
        return fail(f"{error}; {SET_UP}")
    except OSError as error:
        return fail(f"cannot write to {build} ({error.strerror}): clone into a folder of your own")
    notebook = nbformat.read(source, as_version=4)
    problem = run(notebook, source.parent)
    join_streams(notebook)
    drop_passing(notebook)
    files = saved(notebook, build)
    if problem:
        return fail(f"{problem}\n{files}")
    print(f"\n{first_answer(notebook)}\n\n{files}\n{next_steps()}")
    return 0


def fail(message: str) -> int:
    """Say on stderr why there is no answer; returns the exit status of a failure."""
    print(f"\nrun: {message}", file=sys.stderr)
    return 1


def run(notebook, folder: Path) -> str:
    """Execute `notebook` in `folder`; returns in a sentence what went wrong, "" where nothing did."""
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    try:
        execute(notebook, folder)
    except CellExecutionError as error:
        # The reader of a terminal wants the sentence; the traceback is in the notebook.
        return f"cell {last_cell(notebook)} failed: {error.ename}: {error.evalue}"
    except DeadKernelError:
        return "Python was killed in the middle, most often for want of memory"
    except KeyboardInterrupt:
        return f"interrupted in cell {last_cell(notebook)}"
    return "" if first_answer(notebook) else "no cell printed a line with Question: and one with Answer:"


def execute(notebook, folder: Path) -> None:
    """Run all cells of `notebook` (changed in place: it receives the outputs) with `folder` as working directory."""
    from nbclient import NotebookClient

    progress = progress_lines(notebook.cells)
    for index in progress:  # so that what a failed run leaves shows no older output
        notebook.cells[index].update(outputs=[], execution_count=None)

    with tempfile.TemporaryDirectory() as scratch:
        # The reader's own IPython start-up files and kernels stay out; connection files need no writable home.
        os.environ.update(IPYTHONDIR=f"{scratch}/ipython", JUPYTER_RUNTIME_DIR=f"{scratch}/runtime")
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            kernel_manager_class=kernel_of_this_python(),
            extra_arguments=["--log-level=CRITICAL"],  # or Ctrl-C shows the kernel's own traceback
            resources={"metadata": {"path": str(folder)}},
            on_notebook_start=lambda notebook: let_ctrl_c_interrupt(),
            on_cell_execute=lambda cell, cell_index: print(progress[cell_index], flush=True),
        )
        client.execute()


def let_ctrl_c_interrupt() -> None:
    """Raise KeyboardInterrupt on Ctrl-C: nbclient's own handler ends the kernel and then in an AssertionError."""
    with contextlib.suppress(NotImplementedError):  # on Windows there is no handler to remove
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)


def kernel_of_this_python() -> type:
    """A kernel manager class whose "python3" is the Python that runs this file, whatever the reader has installed."""
    import zmq
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpecManager
    from traitlets import default

    class KernelOfThisPython(AsyncKernelManager):
        @default("kernel_spec_manager")
        def nothing_but_ipykernels_own(self):
            return KernelSpecManager(kernel_dirs=[])

        @default("transport_encryption")
        def encrypted_where_possible(self):  # other users of this machine could listen; ipykernel warns about it
            return "auto" if zmq.has("curve") else "disabled"

    return KernelOfThisPython


def progress_lines(cells) -> dict[int, str]:
    """For the index of each code cell, the line to show when it starts: its number and the section it stands in."""
    total = sum(cell.cell_type == "code" for cell in cells)
    lines, heading = {}, ""
    for index, cell in enumerate(cells):
        if cell.cell_type == "code":
            lines[index] = f"[{len(lines) + 1:2}/{total}] {heading}"
        titles = [line for line in cell.source.splitlines() if cell.cell_type == "markdown" and line.startswith("#")]
        heading = titles[-1].lstrip("#").strip() if titles else heading
    return lines


def join_streams(notebook) -> None:
    """Make one output of pieces printed one after another: an answer that was streamed is one text, not a list."""
    for cell in notebook.cells:
        joined = []
        for output in cell.get("outputs", []):
            if joined and output.get("name") and output.get("name") == joined[-1].get("name"):
                joined[-1].text += output.text
            else:
                joined.append(output)
        if joined:
            cell.outputs = joined


def drop_passing(notebook) -> None:
    """Remove outputs that are gone with the kernel (the chat page) or mattered only meanwhile (loading bars)."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_passing(output.get("data", {}))]


def is_passing(data: dict) -> bool:
    return "<iframe" in data.get("text/html", "") or bool(LOADING.match(data.get("text/plain", "")))


def first_answer(notebook) -> str:
    """The text of the inference cell: "Question:", the question, "Answer:", the answer. "" where no cell has it."""
    for cell in notebook.cells:
        text = "".join(output.text for output in cell.get("outputs", []) if output.get("name") == "stdout")
        if "Question:" in text and "Answer:" in text:
            return text[text.index("Question:") :].strip()
    return ""


def last_cell(notebook) -> int:
    """The number of the cell that a run ended in: how many code cells have been started, as Jupyter counts them."""
    return max(cell.execution_count or 0 for cell in notebook.cells if cell.cell_type == "code")


def saved(notebook, build: Path) -> str:
    """Write `notebook` and its HTML into `build`; returns the lines that say where they are."""
    import nbformat
    from nbconvert import HTMLExporter

    executed = build / NOTEBOOK.name
    nbformat.write(notebook, executed)
    resources = {"metadata": {"path": str(ROOT)}}  # what pictures in the prose are relative to
    page, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook, resources)
    html = executed.with_suffix(".html")
    html.write_text(page, encoding="utf-8")
    return where(build)


def where(build: Path) -> str:
    """The lines that say where the executed notebook and its HTML are."""
    executed = shorter(build / NOTEBOOK.name)
    return f"Executed notebook: {executed}\nThe same as HTML:  {executed.with_suffix('.html')}"


def shorter(path: Path) -> Path:
    """`path` as typed from the repository's folder, where it lies inside."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def next_steps() -> str:
    """The line that says what to type next, with or without make."""
    if shutil.which("make"):
        return "Next: `make demo` starts the chat page, `make lab` opens the notebook."
    python = shorter(Path(sys.executable))
    return f"Next: `{python} -m tasks.demo` starts the chat page, `{python} -m jupyter lab` opens the notebook."


if __name__ == "__main__":
    sys.exit(main())
