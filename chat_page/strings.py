"""Sentences for visitors: what is being computed, what an answer took, what went wrong.

Here: their words. Not here: when they are said.
"""

import logging

import gradio as gr

from chat_session import MediaError, Progress, SessionError, Stats
from session.prefill import ENCODING

NOTICE_S = 20  # how long a message about a problem stays

logger = logging.getLogger(__name__)


def progress_line(progress: Progress) -> str:
    """The line in place of an answer that has no word yet."""
    if progress.stage == ENCODING:
        line = f"Looking at picture {progress.done + 1} of {progress.total}"
    else:
        line = f"Reading {progress.done} of {progress.total} tokens"
    return f"{line}, {duration(progress.seconds_left)} left …" if progress.seconds_left is not None else f"{line} …"


def duration(seconds: float) -> str:
    """As people say it; an estimate needs no decimals: "about 12 s"."""
    if seconds < 1:
        return "less than a second"
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min"


def stats_line(stats: Stats) -> str:
    """The quiet line below an answer: what it cost, and what was in a cache already."""
    decode_s = stats.total_s - stats.first_token_s
    speed = ""
    if stats.answer_tokens > 1 and decode_s:
        speed = f", then {(stats.answer_tokens - 1) / decode_s:.0f} tokens/s"
    encoded = ""
    if stats.visual_tokens:
        encoded = f" {stats.encoded_tokens} of {stats.visual_tokens} visual tokens seen anew."
    cached = f" {stats.cached_tokens} of {stats.prompt_tokens} tokens known before."
    return f"First word after {stats.first_token_s:.1f} s{speed}.{encoded}{cached}"


def visible_error(error: Exception) -> gr.Error:
    """What a visitor is told of `error`: a sentence, and nothing of what is inside."""
    if isinstance(error, SessionError | MediaError):
        return gr.Error(str(error), duration=NOTICE_S, print_exception=False)
    logger.exception("the model failed", exc_info=error)
    problem = f"The model failed ({type(error).__name__}). Your message is back in the input field: please try again."
    return gr.Error(problem, duration=NOTICE_S, print_exception=False)
