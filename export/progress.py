"""Live text for the reader: lines that stay, and one status line that is rewritten in place.

    display = make_display()
    display.progress("Downloading 50%")  # takes the place of the last progress line
    display.line("a table")              # stays
    display.close("Downloaded")

Works in a notebook, in a terminal, and where the output goes to a file. What to show is the callers' business.
"""

import html
import shutil
import sys
from typing import Protocol

FOLDED = "<details><summary>The same for the other graphs</summary><pre>{}</pre></details>"


class ProgressDisplay(Protocol):
    """What shows the progress of something long."""

    def line(self, text: str) -> None:
        """Shows a line that stays; a progress line above it stays as it last was."""

    def folded(self, text: str) -> None:
        """Shows a line that stays and that few want: folded away with others like it, where that is possible."""

    def progress(self, text: str) -> None:
        """Shows `text` in place of the last progress line."""

    def status(self, text: str) -> None:
        """Says what is going on: passing news, worth no trace in a file."""

    def close(self, text: str) -> None:
        """Ends with `text` in place of the status."""


def in_notebook() -> bool:
    """True inside a Jupyter kernel, where rich output can be shown."""
    ipython = sys.modules.get("IPython")  # already imported if we run under it
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


def make_display() -> ProgressDisplay:
    """A display for where this process runs."""
    return NotebookDisplay() if in_notebook() else TextDisplay()


def show_markdown(markdown: str, text: str) -> None:
    """Shows `markdown` in a notebook, `text` elsewhere."""
    if not in_notebook():
        print(text)
        return
    from IPython.display import Markdown, display

    display(Markdown(markdown))


class TextDisplay:
    """A terminal rewrites its last line; a file gets a progress line once, as it last was."""

    def __init__(self) -> None:
        self._rewrites = sys.stdout.isatty()
        self._current = ""  # what the cursor stands behind, in a terminal
        self._pending = ""  # the progress line that a file has yet to get

    def line(self, text: str) -> None:
        self._leave_progress()
        print(text, flush=True)

    def folded(self, text: str) -> None:
        self.line(text)

    def progress(self, text: str) -> None:
        self._pending = text
        self._rewrite(text)

    def status(self, text: str) -> None:
        if self._rewrites and "100%" in self._pending:
            self._leave_progress()  # it has ended; something else is going on
        if not self._pending:
            self._rewrite(text)

    def close(self, text: str) -> None:
        self.line(text)

    def _rewrite(self, text: str) -> None:
        if self._rewrites:
            text = text[: shutil.get_terminal_size().columns - 1]  # a wrapped line could not be taken back
            print(f"\r{text:<{len(self._current)}}", end="", flush=True)
            self._current = text

    def _leave_progress(self) -> None:
        if self._rewrites:
            self._rewrite(self._pending)
            print(end="\n" if self._pending else "\r")
        elif self._pending:
            print(self._pending)
        self._current = ""
        self._pending = ""


class NotebookDisplay:
    """Outputs that are updated in place: the status on top, progress and folded lines where they came up."""

    def __init__(self) -> None:
        self._status_handle = None
        self._progress_handle = None
        self._folded_handle = None
        self._folded: list[str] = []

    def line(self, text: str) -> None:
        print(text, flush=True)
        self._progress_handle = None

    def folded(self, text: str) -> None:
        self._folded.append(text)
        lines = "\n".join(self._folded)
        data = {"text/plain": lines, "text/html": FOLDED.format(html.escape(lines))}
        self._folded_handle = _show_or_update(self._folded_handle, data)
        self._progress_handle = None

    def progress(self, text: str) -> None:
        self._progress_handle = _show_or_update(self._progress_handle, {"text/plain": text})

    def status(self, text: str) -> None:
        self._status_handle = _show_or_update(self._status_handle, {"text/plain": text})

    def close(self, text: str) -> None:
        self.status(text)


def _show_or_update(handle, data: dict[str, str]):
    """Returns the handle of an output that now shows `data`: {MIME type: text}."""
    from IPython.display import display

    if handle is None:
        return display(data, raw=True, display_id=True)
    handle.update(data, raw=True)
    return handle
