"""A replica for tests: it tells which process it is, and computes so exactly that any other writes the same."""

import os

from serving.replica import Replica
from tests.conftest import EXACT


def exact(folder: str, threads: int):
    """As serving.replica.load, in 32 bits throughout: forced to write on, the practice model says what is as likely as
    something else, and OpenVINO's 8-bit KV cache differs in the fifth decimal by how a prompt was cut.
    """
    from optimum.intel.openvino import OVModelForVisualCausalLM
    from transformers import AutoProcessor

    from chat_session import ChatSession

    settings = EXACT | {"INFERENCE_NUM_THREADS": str(threads)}
    model = OVModelForVisualCausalLM.from_pretrained(folder, device="CPU", compile=False, ov_config=settings)
    return ChatSession(model, AutoProcessor.from_pretrained(folder))


class Tested(Replica):
    def pid(self) -> int:
        return os.getpid()

    def under_way(self) -> int:
        """Answers that compute or wait to."""
        return len(self.session._asked)
