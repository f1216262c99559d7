"""Gradio's names that its documentation does not promise (6.31), and what we use each for.

- `gradio.utils.get_upload_folder`: where uploads lie. Only files in it may be asked about, and are served.
- `gradio.processing_utils.save_file_to_cache`, `save_bytes_to_cache`, `save_pil_to_cache`, `hash_file`: put a file of
  ours there, under a name that is a hash of its content.
- `gradio_client.utils.get_mimetype`: the MIME type with which Gradio serves a file.
- `Component.keep_in_cache`: files that `delete_cache` must not delete; `Component.temp_files`: those that it must.

What guards a page is in `adapters.guarded_blocks`. Noticed by tests/test_gradio_helper.py, test_conversation_file.py
and test_page_access.py.
"""

import gradio as gr
from gradio.processing_utils import hash_file, save_bytes_to_cache, save_file_to_cache, save_pil_to_cache
from gradio.utils import get_upload_folder
from gradio_client.utils import get_mimetype

__all__ = ["get_mimetype", "get_upload_folder", "hash_file", "keep_files",
           "save_bytes_to_cache", "save_file_to_cache", "save_pil_to_cache", "track_files"]  # fmt: skip


def keep_files(component: gr.components.Component, paths) -> None:
    """Keeps `paths`, files of Gradio's upload folder, for as long as the page is there."""
    component.keep_in_cache.update(paths)


def track_files(component: gr.components.Component, paths) -> None:
    """Has Gradio delete `paths`, files of its upload folder, as what the component itself has shown."""
    component.temp_files.update(paths)
