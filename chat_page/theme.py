"""How the page looks and how it is served.

Here: the settings of `launch`, the style sheet, the few lines of JavaScript. Not here: what is on the page
(`chat_page.layout`). Nothing is fetched from outside: fonts are the system's, because Gradio's own would come from
Google.
"""

from pathlib import Path

import gradio as gr

HERE = Path(__file__).resolve().parent
HOUR_S = 3600
MAX_FILE_AGE_S = 24 * HOUR_S  # what was uploaded or made for the page is deleted after this

CSS = """
.gradio-container > main, .gradio-container main.app { max-width: 900px !important; padding: 12px 16px !important; }
h1 { margin: 0 !important; font-size: 1.5rem !important; }
/* Gradio's own grey for such lines is too pale to be read by everybody. */
.gradio-container { --quiet-color: var(--neutral-600); }
.dark .gradio-container, .gradio-container.dark { --quiet-color: var(--neutral-300); }
.quiet, .quiet * { font-size: var(--text-sm) !important; color: var(--quiet-color) !important; }
.quiet { overflow-wrap: anywhere; }
.notice, .practice { border-radius: 8px; padding: 10px 14px !important; background: var(--color-accent-soft); }
.tools { flex-wrap: wrap; gap: 8px; }
.tools > * { min-width: 5em !important; flex: 1 1 5em !important; }
.upload-button { width: auto !important; }
.upload-button svg { width: 20px; }
.upload-button::after { content: "Upload"; padding-left: 4px; }
.submit-button { color: white !important; background: var(--primary-600) !important; }
.message { overflow-wrap: anywhere; }
.message .md { white-space: pre-wrap; }
.message img, .message video { max-height: 300px; max-width: 100%; }
.message small { display: block; margin-top: 6px; color: var(--quiet-color); }
/* Under a picture Gradio has only a Share button, which would send it to a public site. */
.message-row:has(.component) + .message-buttons { display: none !important; }
#download, #continue { display: none !important; }
@media (max-width: 480px) {
  .upload-button::after { content: none; }
  .bubble.user-row, .bubble.bot-row { max-width: 100% !important; margin: 8px !important; }
}
""" + (HERE / "answers.css").read_text(encoding="utf-8")

# Statements, inside a function: Gradio calls it when the page is there.
JS = f"() => {{ {(HERE / 'answers.js').read_text(encoding='utf-8')} }}"

PRESS_DOWNLOAD = "() => document.querySelector('#download').click()"

LAUNCH = {
    "server_name": "127.0.0.1",
    "share": False,  # said, because on hosted notebooks Gradio shares when it is not
    "max_file_size": "64mb",
    "height": 760,  # of the frame in a notebook
    "allowed_paths": [],
    "footer_links": ["api", "settings"],
    "run_history": False,
    "state_session_capacity": 1000,  # visitors that Gradio remembers for an hour, 0.2 MB each
    "theme": gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]).set(
        # darker than Soft's own, so that everybody can read them
        block_info_text_color="*neutral_600",
        block_title_text_color="*primary_700",
        body_text_color_subdued="*neutral_600",
    ),
    "css": CSS,
    "js": JS,
}
