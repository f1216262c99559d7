"""What every engine is asked, and what is written down: the same pictures, the same words, the same number of tokens.

Here: pictures, questions, one repetition, its figures. Not here: engines (`engines/`), processes (`processes.py`) and
tables (`tables.py`).

An engine is a class: `Engine(model_dir, weights, ov_config)` loads, `ask(messages, new_tokens)` gives a Reply,
`prepare(messages)` is there only where an engine can prefill before the question comes. Messages are those of
`session.prompt`.
"""

import random
import time
from dataclasses import dataclass, field
from statistics import median

# Visual tokens: width and height. 1280 is what a phone's photo gets; 2304 needs a larger budget than the tutorial's.
SIZES = {384: (672, 448), 1280: (1120, 896), 2304: (1344, 1344)}
QUESTION = "Describe this image."
OTHER_QUESTION = "Where is the circle?"
FOLLOW_UP = (  # some 50 tokens with those around it
    "Where is the star, and what colour is it? Is it to the left of the circle? How many shapes are there in the "
    "image, and which of them is red?"
)
SITUATIONS = ("turn1", "turn2", "retry", "same_image", "prepared")
KEYS = ("engine", "load_s", *(f"ttft_{name}_s" for name in SITUATIONS), "decode_tok_s", "peak_rss_mb")


@dataclass
class Reply:
    """An answer and when its tokens came, in seconds since it was asked for.

    prompt_tokens, visual_tokens, cached_tokens: None where the engine does not tell. cached_tokens are those of the
    prompt that were in a KV cache already.
    """

    text: str = ""
    prompt_tokens: int | None = None
    visual_tokens: int | None = None
    cached_tokens: int | None = None
    answer_tokens: int = 0
    first_token_s: float = 0.0
    total_s: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def token(self) -> None:
        """One more token is known."""
        self.answer_tokens += 1
        self.total_s = time.perf_counter() - self.started
        self.first_token_s = self.first_token_s or self.total_s


def picture(number: int, visual_tokens: int = 384):
    """The same for the same number, another one for any other: no engine has encoded it before."""
    return scene(f"benchmark {number}", SIZES[visual_tokens])


def scene(name: str, size: tuple[int, int]):
    """The same for the same name. size: width and height in pixels."""
    from tiny_model.scenes import sample_scene

    return sample_scene(random.Random(name), size, count=4).image


def user(text: str, image=None) -> dict:
    media = [] if image is None else [{"type": "image", "image": image}]
    return {"role": "user", "content": [*media, {"type": "text", "text": text}]}


def warm_up(engine, new_tokens: int, visual_tokens: int) -> None:
    """The first inference after loading costs seconds more than any later one and says nothing about them."""
    engine.ask([user(QUESTION, picture(-1, visual_tokens))], new_tokens)


def repetition(engine, number: int, new_tokens: int, visual_tokens: int) -> dict[str, Reply]:
    """Replies by situation, about two pictures of their own."""
    image = picture(2 * number, visual_tokens)
    other_image = picture(2 * number + 1, visual_tokens)
    first_turn = [user(QUESTION, image)]
    replies = {"turn1": engine.ask(first_turn, new_tokens)}
    answer = {"role": "assistant", "content": replies["turn1"].text}
    replies["turn2"] = engine.ask([*first_turn, answer, user(FOLLOW_UP)], new_tokens)
    replies["retry"] = engine.ask(first_turn, new_tokens)
    replies["same_image"] = engine.ask([user(OTHER_QUESTION, image)], new_tokens)
    if hasattr(engine, "prepare"):
        later = [user(QUESTION, other_image)]
        engine.prepare(later)
        replies["prepared"] = engine.ask(later, new_tokens)
    return replies


def figures(repetitions: list[dict[str, Reply]]) -> dict[str, float | None]:
    """Medians: seconds to the first token by situation, and tokens per second after it."""

    def first_token(name: str) -> float | None:
        seconds = [replies[name].first_token_s for replies in repetitions if name in replies]
        return median(seconds) if seconds else None

    answers = [replies["turn1"] for replies in repetitions]
    speed = median((answer.answer_tokens - 1) / (answer.total_s - answer.first_token_s) for answer in answers)
    return {**{f"ttft_{name}_s": first_token(name) for name in SITUATIONS}, "decode_tok_s": speed}


def tokens(replies: dict[str, Reply]) -> dict[str, dict[str, int | None]]:
    """Counts by situation."""
    kinds = ("prompt_tokens", "visual_tokens", "cached_tokens")
    return {name: {kind: getattr(reply, kind) for kind in kinds} for name, reply in replies.items()}
