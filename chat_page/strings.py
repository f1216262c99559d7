"""What the page says: what is being done, what an answer took, what went wrong.

Here: sentences. Not here: when they are said.
"""

import logging

import gradio as gr

from chat_session import MediaError, Progress, SessionError, Stats
from session.prefill import ENCODING

NOTICE_S = 20  # how long a message about a problem stays

logger = logging.getLogger(__name__)


def doing(progress: Progress) -> str:
    """The line in place of an answer that has no word yet."""
    if progress.stage == ENCODING:
        line = f"Looking at picture {progress.done + 1} of {progress.total}"
    else:
        line = f"Reading {progress.done} of {progress.total} tokens"
    return f"{line}, {seconds(progress.seconds_left)} left …" if progress.seconds_left is not None else f"{line} …"


def seconds(count: float) -> str:
    """As people say it; a guess needs no decimals."""
    if count < 1:
        return "less than a second"
    if count < 90:
        return f"about {count:.0f} s"
    return f"about {count / 60:.0f} min"


def took(stats: Stats) -> str:
    """One quiet line: what an answer cost, and what was spared."""
    writing = stats.total_s - stats.first_token_s
    speed = f", then {(stats.answer_tokens - 1) / writing:.0f} tokens/s" if stats.answer_tokens > 1 and writing else ""
    seen = f" {stats.encoded_tokens} of {stats.visual_tokens} visual tokens seen anew." if stats.visual_tokens else ""
    known = f" {stats.cached_tokens} of {stats.prompt_tokens} tokens known before."
    return f"First word after {stats.first_token_s:.1f} s{speed}.{seen}{known}"


def plain(error: Exception) -> gr.Error:
    """What a visitor is told of `error`: a sentence, and nothing of what is inside."""
    if isinstance(error, SessionError | MediaError):
        return gr.Error(str(error), duration=NOTICE_S, print_exception=False)
    logger.exception("the model failed", exc_info=error)
    problem = f"The model failed ({type(error).__name__}). Your message is back in the input field: please try again."
    return gr.Error(problem, duration=NOTICE_S, print_exception=False)
