"""How the page looks and how it is served.

Here: the settings of `launch`, the style sheet, the few lines of JavaScript. Not here: what is on the page
(`chat_page.layout`). Nothing is fetched from outside: fonts are the system's, because Gradio's own would come from
Google.
"""

from pathlib import Path

import gradio as gr

from chat_page.messages import MAX_FILES

HERE = Path(__file__).resolve().parent
HOUR_S = 3600
MAX_FILE_AGE_S = 24 * HOUR_S  # what was uploaded or made for the page is deleted after this

MAX_FILE_MB = 2048  # of a file from this machine itself: a phone films that in half an hour
MAX_STRANGERS_FILE_MB = 64  # where other machines reach the page, and could fill its disk
STORED_IN_TAB = "qwen2-vl-chat"  # the name under which a tab stores its conversation
STORED_SETTINGS = "qwen2-vl-chat-settings"  # and under which a browser stores the settings, for all of its tabs


def _text_of(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


# Not by Gradio's `css`, which takes the commas of ":is(a, b)" for ends of selectors.
HEAD = (
    f"<style>{_text_of('page.css')} {_text_of('answers.css')}</style>"
    f'<script>{{ const STORED_IN_TAB = "{STORED_IN_TAB}", STORED_SETTINGS = "{STORED_SETTINGS}"; '
    f"{_text_of('page_head.js')} }}</script>"
)

PRESS_DOWNLOAD = "() => document.querySelector('#download').click()"
# At once, not when the server has answered: what is typed meanwhile would go, too. `sent` is what it has not got yet.
EMPTY_BOX = """(...values) => {
  window.sent = values.slice(0, 2);
  setTimeout(() => document.querySelector('#empty').click());
  return values;
}"""
EMPTIED = "() => [{ text: '', files: [] }, '']"
FILLED_AGAIN = "() => window.sent"
ARRIVED = "() => { window.sent = null; }"
OFFER_UNDO = "() => dispatchEvent(new Event('cleared'))"

LAUNCH = {
    "server_name": "127.0.0.1",
    "share": False,  # said, because on hosted notebooks Gradio shares when it is not
    "height": 760,  # of the frame in a notebook
    "allowed_paths": [],
    "footer_links": [],
    "run_history": False,
    "state_session_capacity": 1000,  # visitors that Gradio remembers for an hour, 0.2 MB each
    "theme": gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]).set(
        # darker than Soft's own, so that everybody can read them
        block_info_text_color="*neutral_600",
        block_title_text_color="*primary_700",
        block_title_text_color_dark="*primary_300",
        block_title_background_fill="none",
        block_title_background_fill_dark="none",
        block_title_padding="0",
        body_text_color_subdued="*neutral_600",
    ),
    "head": HEAD,
    "favicon_path": HERE / "icon.png",
}


def limits(largest_mb: int) -> dict:
    """Settings of `launch` for files of up to `largest_mb`: one for Gradio, one for the page, which says it at once."""
    constants = f"const MAX_FILES = {MAX_FILES}, MAX_FILE_MB = {largest_mb};"
    # Statements, inside a function: Gradio calls it when the page is there.
    statements = f"() => {{ {constants} {_text_of('page.js')} {_text_of('answers.js')} }}"
    return {"max_file_size": f"{largest_mb}mb", "js": statements}
