"""llama.cpp, by xllamacpp's server inside this process, on what `python -m benchmarks gguf-model` wrote.

Here: its own pre-processing, chat template and prompt cache, with its defaults but for one conversation at a time.
Its HTTP port is opened on the loopback and not used. Not here: videos, which it does not take for a Qwen2-VL.
"""

import base64
import io
import json
import os

import xllamacpp

from benchmarks.gguf_model import LANGUAGE_MODEL, VISION_ENCODER
from benchmarks.scenario import Reply

CONTEXT_TOKENS = 8192  # of prompt and answer


class Engine:
    """weights: the folder with both files; the exported model is not looked at."""

    def __init__(self, model_dir, weights, ov_config=None):
        params = xllamacpp.CommonParams()
        params.model.path, params.mmproj.path = str(weights / LANGUAGE_MODEL), str(weights / VISION_ENCODER)
        params.n_ctx, params.n_parallel, params.verbosity = CONTEXT_TOKENS, 1, 0
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = os.cpu_count()
        self.server = xllamacpp.Server(params)
        self.is_checked = False

    def ask(self, messages: list[dict], new_tokens: int) -> Reply:
        """Greedy, without an early end. The first answer of all (a warm one) is looked through for NaN, which costs
        time; raises ArithmeticError.
        """
        request = {"messages": [_message(message) for message in messages], "max_tokens": new_tokens, "stream": True,
                   "temperature": 0, "ignore_eos": True, "logprobs": not self.is_checked}  # fmt: skip
        reply, chunks = Reply(), []

        def take(text: str) -> bool:
            """What is raised in here is lost on the way through C++. Returns whether to stop."""
            chunks.append(json.loads(text))
            if _delta(chunks[-1]):
                reply.token()
            return False

        self.server.handle_chat_completions(json.dumps(request), take)
        _check(chunks)
        self.is_checked = True
        reply.text = "".join(map(_delta, chunks))
        counts = chunks[-1]["timings"]
        reply.cached_tokens, reply.prompt_tokens = counts["cache_n"], counts["cache_n"] + counts["prompt_n"]
        return reply


def _delta(chunk: dict) -> str:
    """The text in one chunk of OpenAI's stream."""
    return "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices", []))


def _check(chunks: list[dict]) -> None:
    """Raises what went wrong."""
    if errors := [chunk["error"] for chunk in chunks if "error" in chunk]:
        raise RuntimeError(errors[0]["message"])
    if not chunks:
        raise RuntimeError("it did not answer")
    tokens = [token for chunk in chunks for choice in chunk["choices"] if choice.get("logprobs")
              for token in choice["logprobs"]["content"]]  # fmt: skip
    if any(token["logprob"] is None for token in tokens):  # JSON has no NaN
        raise ArithmeticError("it computed NaN")


def _message(message: dict) -> dict:
    if isinstance(message["content"], str):
        return message
    return {"role": message["role"], "content": [_part(part) for part in message["content"]]}


def _part(part: dict) -> dict:
    if part["type"] == "text":
        return part
    if part["type"] != "image":
        raise ValueError(f"it takes no {part['type']}s")
    file = io.BytesIO()
    part["image"].save(file, "PNG", compress_level=1)
    address = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": address}}
