"""Gradio's names that its documentation does not promise (6.31), and what we use each for.

- `gradio.utils.get_upload_folder`: where uploads lie. Only files in it may be asked about, and are served.
- `gradio.processing_utils.save_file_to_cache`, `save_pil_to_cache`, `hash_file`: put a file of ours there, under a
  name that is a hash of its content.
- `gradio_client.utils.get_mimetype`: the MIME type with which Gradio serves a file.
- `gradio_client.utils.traverse`, `is_http_url_like`, and overriding `Blocks.preprocess_data`: before any handler is
  asked, Gradio would fetch a file that a client names by URL.
- `Component.keep_in_cache`: files that `delete_cache` must not delete.

Noticed by tests/test_gradio_helper.py, test_conversation_file.py and test_page_access.py.
"""

import gradio as gr
from gradio.processing_utils import hash_file, save_file_to_cache, save_pil_to_cache
from gradio.utils import get_upload_folder
from gradio_client.utils import get_mimetype, is_http_url_like, traverse

__all__ = ["BlocksWithoutAddresses", "get_mimetype", "get_upload_folder", "hash_file", "keep_files",
           "save_file_to_cache", "save_pil_to_cache"]  # fmt: skip


class BlocksWithoutAddresses(gr.Blocks):
    """A page that refuses files which a client names by URL, instead of fetching them."""

    async def preprocess_data(self, block_fn, inputs, state, explicit_call=False):
        traverse(inputs, _refuse_address, lambda value: isinstance(value, dict) and "path" in value)
        return await super().preprocess_data(block_fn, inputs, state, explicit_call)


def _refuse_address(file: dict) -> dict:
    if is_http_url_like(str(file["path"])):
        raise gr.Error("Only files that were uploaded to this page can be used.")
    return file


def keep_files(component: gr.components.Component, paths) -> None:
    """Keeps `paths`, files of Gradio's upload folder, for as long as the page is there."""
    component.keep_in_cache.update(paths)
