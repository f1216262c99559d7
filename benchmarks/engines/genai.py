"""OpenVINO GenAI's VLMPipeline on the same folder, with either of its two attention backends.

Here: its own pre-processing, chat template and caches, through ChatHistory, which its documentation recommends
(start_chat and finish_chat are deprecated). Not here: anything of ours.
"""

import numpy as np
import openvino_genai as genai

from adapters.openvino_runtime import ov
from benchmarks.scenario import Reply


class Engine:
    """backend: "PA" (paged attention, with a prefix cache over all conversations) or "SDPA"."""

    backend: str

    def __init__(self, model_dir, weights=None, ov_config=None):
        self.pipeline = genai.VLMPipeline(model_dir, "CPU", ATTENTION_BACKEND=self.backend, **(ov_config or {}))
        self.history = genai.ChatHistory()
        self.messages: list[dict] = []  # those in the history

    def ask(self, messages: list[dict], new_tokens: int) -> Reply:
        """GenAI keeps pictures with the history they came with, so a conversation goes on in the same ChatHistory."""
        reply = Reply()
        media = self._go_back_and_append(messages)
        result = self.pipeline.generate(
            self.history, **media, generation_config=self._config(new_tokens), streamer=_Streamer(reply)
        )
        reply.text = result.texts[0]
        reply.prompt_tokens = result.perf_metrics.get_num_input_tokens()
        return reply

    def _go_back_and_append(self, messages: list[dict]) -> dict[str, list[ov.Tensor]]:
        """Make the history that of `messages`; the pictures and videos of those that are new in it."""
        shared = _common_length(self.messages, messages)
        if shared == 0:
            self.history = genai.ChatHistory()
        while len(self.history) > shared:
            self.history.pop()
        media: dict[str, list[ov.Tensor]] = {"images": [], "videos": []}
        for message in messages[shared:]:
            text, images, videos = _split(message["content"])
            self.history.append({"role": message["role"], "content": text})
            media["images"] += images
            media["videos"] += videos
        self.messages = messages
        return {kind: tensors for kind, tensors in media.items() if tensors}

    def _config(self, new_tokens: int) -> genai.GenerationConfig:
        config = self.pipeline.get_generation_config()
        config.do_sample = False
        config.max_new_tokens = config.min_new_tokens = new_tokens
        return config


class PagedAttention(Engine):
    backend = "PA"


class Stateful(Engine):
    backend = "SDPA"


class _Streamer(genai.StreamerBase):
    def __init__(self, reply: Reply):
        super().__init__()
        self.reply = reply

    def write(self, token) -> genai.StreamingStatus:
        for _ in [token] if isinstance(token, int) else token:
            self.reply.token()
        return genai.StreamingStatus.RUNNING

    def end(self) -> None:
        pass


def _common_length(before: list[dict], after: list[dict]) -> int:
    length = 0
    while length < min(len(before), len(after)) and before[length] == after[length]:
        length += 1
    return length


def _split(content) -> tuple[str, list[ov.Tensor], list[ov.Tensor]]:
    """Text, pictures and videos of a message; in all that is asked here these come first, as GenAI puts them."""
    if isinstance(content, str):
        return content, [], []
    images = [ov.Tensor(np.asarray(part["image"])[None]) for part in content if part["type"] == "image"]
    videos = [ov.Tensor(np.stack(part["video"])) for part in content if part["type"] == "video"]
    return "".join(part["text"] for part in content if part["type"] == "text"), images, videos
