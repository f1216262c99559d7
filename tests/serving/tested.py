"""A replica for tests: slow enough to be caught in mid-answer, and so exact that any other generates the same."""

import os
import time

from chat_session import ChatSession
from serving.replica import Replica
from tests.conftest import EXACT

PIECE_S = 0.01  # at least, for each piece of an answer


class SlowSession(ChatSession):
    def __init__(self, *args, **limits):
        super().__init__(*args, **limits)
        self.under_way = set()

    def _texts(self, *args):
        self.under_way.add(answer := object())
        try:
            for piece in super()._texts(*args):
                yield piece
                time.sleep(PIECE_S)
        finally:
            self.under_way.discard(answer)


def exact(folder: str, threads: int) -> SlowSession:
    """As serving.replica.load, in 32 bits throughout: forced to go on, the practice model says what is as likely as
    something else, and OpenVINO's 8-bit KV cache differs in the fifth decimal by how a prompt was cut.
    """
    from catalog.open import open_model

    settings = EXACT | {"INFERENCE_NUM_THREADS": str(threads)}
    model, processor = open_model(folder, "CPU", ov_config=settings)
    return SlowSession(model, processor)


class Tested(Replica):
    def state(self) -> tuple[int, int]:
        """The process, and how many answers it generates or has waiting for their turn."""
        return os.getpid(), len(self.session.under_way)
