"""Live text for the reader: lines that stay, and one status line that is rewritten in place.

Works in a notebook, in a terminal, and where the output goes to a file. What to show is the callers' business.
"""

import shutil
import sys
from typing import Protocol


class Screen(Protocol):
    def line(self, text: str) -> None:
        """Shows a line that stays; a progress line above it stays as it last was."""

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


def make_screen() -> Screen:
    return NotebookScreen() if in_notebook() else TextScreen()


def show_markdown(markdown: str, text: str) -> None:
    """Shows `markdown` in a notebook, `text` elsewhere."""
    if not in_notebook():
        print(text)
        return
    from IPython.display import Markdown, display

    display(Markdown(markdown))


class TextScreen:
    """A terminal rewrites its last line; a file gets a progress line once, as it last was."""

    def __init__(self) -> None:
        self.rewrites = sys.stdout.isatty()
        self.current = ""  # what the cursor stands behind, in a terminal
        self.kept = ""  # the progress line that a file has yet to get

    def line(self, text: str) -> None:
        self._leave_progress()
        print(text, flush=True)

    def progress(self, text: str) -> None:
        self.kept = text
        self._rewrite(text)

    def status(self, text: str) -> None:
        if self.rewrites and "100%" in self.kept:
            self._leave_progress()  # it has ended; something else is going on
        if not self.kept:
            self._rewrite(text)

    def close(self, text: str) -> None:
        self.line(text)

    def _rewrite(self, text: str) -> None:
        if self.rewrites:
            text = text[: shutil.get_terminal_size().columns - 1]  # a wrapped line could not be taken back
            print(f"\r{text:<{len(self.current)}}", end="", flush=True)
            self.current = text

    def _leave_progress(self) -> None:
        if self.rewrites:
            self._rewrite(self.kept)
            print(end="\n" if self.kept else "\r")
        elif self.kept:
            print(self.kept)
        self.current = self.kept = ""


class NotebookScreen:
    """Two outputs that are updated in place: the status on top, and the progress line where it came up."""

    def __init__(self) -> None:
        self.status_handle = None
        self.progress_handle = None

    def line(self, text: str) -> None:
        print(text, flush=True)
        self.progress_handle = None

    def progress(self, text: str) -> None:
        self.progress_handle = show_or_update(self.progress_handle, text)

    def status(self, text: str) -> None:
        self.status_handle = show_or_update(self.status_handle, text)

    def close(self, text: str) -> None:
        self.status(text)


def show_or_update(handle, text: str):
    """Returns the handle of an output that now reads `text`."""
    from IPython.display import display

    data = {"text/plain": text}
    if handle is None:
        return display(data, raw=True, display_id=True)
    handle.update(data, raw=True)
    return handle
