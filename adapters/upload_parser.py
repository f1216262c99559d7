"""What an upload may hold, and what is left of it, where Gradio (6.31) is too generous:

    - it keeps in memory whatever is no file, however large;
    - it leaves on the disk, for ever, what came of a file whose sender went away, and files of other names;
    - it remembers for ever how far each upload has come that nobody asked about.

`use()` puts our own parser, and our own memory of how far uploads have come, in the place of Gradio's: for all pages of
this process, because its routes find them as variables of modules. Noticed by tests/security/test_uploads.py.
"""

import contextlib
import os

from gradio import route_utils, routes
from gradio.route_utils import FileUploadProgress, GradioMultiPartParser
from starlette.formparsers import MultiPartException

MAX_TRACKED = 1000  # uploads of which it is known how far they have come
FILES = "files"
FILES_ONLY = f"An upload has files in it, each named {FILES!r}, and nothing else."


def use() -> None:
    """From now on; a second time changes nothing."""
    route_utils.GradioMultiPartParser = UploadParser
    if not isinstance(routes.file_upload_statuses, UploadProgress):
        routes.file_upload_statuses = UploadProgress()


class UploadParser(GradioMultiPartParser):
    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        if self._current_part.file is None or self._current_part.field_name != FILES:
            raise MultiPartException(FILES_ONLY)

    async def parse(self):
        """As Gradio's; whatever it raises, nothing of the upload stays."""
        try:
            return await super().parse()
        except BaseException:
            for file in self._files_to_close_on_error:
                file.close()
                with contextlib.suppress(OSError):  # where Gradio has deleted it
                    os.unlink(file.name)
            raise


class UploadProgress(FileUploadProgress):
    """Forgets what was begun longest ago."""

    def track(self, upload_id: str) -> None:
        super().track(upload_id)
        self._forget()

    async def is_tracked(self, upload_id: str) -> bool:
        self._forget()
        return await super().is_tracked(upload_id)

    def stop_tracking(self, upload_id: str) -> None:
        super().stop_tracking(upload_id)
        self._signals.pop(upload_id, None)

    def _forget(self) -> None:
        for known in (self._statuses, self._signals):
            while len(known) > MAX_TRACKED:
                del known[next(iter(known))]
