"""How fast this machine is with this model: seconds a token, as measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

MEMORY = 0.5  # what an earlier measurement still weighs when the next one comes


class Pace:
    """Predicts how long looking at pictures and reading prompts takes, from how long it took. The encoder's cost grows
    faster than its tokens, so for a picture much larger than those before the prediction is too low.
    """

    def __init__(self):
        self._measured = {"looking": (0.0, 0.0), "reading": (0.0, 0.0)}  # (tokens, seconds)

    @contextmanager
    def measured(self, doing: str, tokens: int) -> Iterator[None]:
        """Inside, `doing` ("looking" or "reading") happens with `tokens` tokens. What fails is not counted."""
        began = perf_counter()
        yield
        before = self._measured[doing]
        self._measured[doing] = (MEMORY * before[0] + tokens, MEMORY * before[1] + perf_counter() - began)

    def seconds(self, looking: int, reading: int) -> float | None:
        """For so many tokens of each; None where that was not done yet."""
        total = 0.0
        for doing, tokens in (("looking", looking), ("reading", reading)):
            known, took = self._measured[doing]
            if tokens and not known:
                return None
            total += tokens * took / known if tokens else 0.0
        return total
