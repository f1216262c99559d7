"""Sentences for visitors: what is being computed, what an answer took, what went wrong.

Here: their words. Not here: when they are said.
"""

import logging

import gradio as gr

from chat_session import MediaError, Progress, SessionError, Stats
from session.prefill import ENCODING

REPETITION = "Ended, because it said the same again and again"
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
    """The quiet line below an answer, and a second one for its tooltip: why it ended, what is odd about its pictures,
    what it cost, and what was in a cache already.

    Cut at 66 tokens · first word 0.4 s · 21 tokens/s · picture already seen
    66 tokens in 3.5 s. Of 540 tokens before it, 539 were in memory. Of 487 visual tokens, 0 were encoded.
    """
    decode_s = stats.total_s - stats.first_token_s
    ends = {"length": [f"Cut at {stats.answer_tokens} tokens"], "repetition": [REPETITION]}
    line = [*ends.get(stats.finish_reason, []), *stats.notes, f"first word {stats.first_token_s:.1f} s"]
    if stats.answer_tokens > 1 and decode_s:
        line.append(f"{(stats.answer_tokens - 1) / decode_s:.0f} tokens/s")
    numbers = (
        f"{stats.answer_tokens} tokens in {stats.total_s:.1f} s. "
        f"Of {stats.prompt_tokens} tokens before it, {stats.cached_tokens} were in memory."
    )
    if stats.visual_tokens:
        numbers += f" Of {stats.visual_tokens} visual tokens, {stats.encoded_tokens} were encoded."
        line += [] if stats.encoded_tokens else ["picture already seen"]
    return f"{' · '.join(line)}\n{numbers}"


def visible_error(error: Exception) -> gr.Error:
    """What a visitor is told of `error`: a sentence, and nothing of what is inside."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, SessionError | MediaError):
        return gr.Error(str(error), duration=NOTICE_S, print_exception=False)
    logger.exception("the model failed", exc_info=error)
    problem = f"The model failed ({type(error).__name__}). Nothing that you wrote is lost: please try again."
    return gr.Error(problem, duration=NOTICE_S, print_exception=False)
