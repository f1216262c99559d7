"""Transformers itself, in float32, from the original weights: what OpenVINO is compared with."""

import torch
from transformers import AutoConfig, Qwen2VLForConditionalGeneration

from benchmarks.engines import take_pictures_as_they_are
from benchmarks.scenario import Reply
from catalog.open import load_processor
from session.prompt import build_prompt, model_inputs


class Engine:
    """No cache between turns: each prefills the whole conversation. The processor is the export's, as for the rest."""

    def __init__(self, model_dir, weights, ov_config=None):
        self.processor = load_processor(model_dir, AutoConfig.from_pretrained(model_dir))
        take_pictures_as_they_are(self.processor)
        self.model = Qwen2VLForConditionalGeneration.from_pretrained(weights, dtype=torch.float32).eval()

    def ask(self, messages: list[dict], new_tokens: int) -> Reply:
        reply = Reply()
        prompt = build_prompt(self.processor, messages)
        limits = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens, "do_sample": False}
        with torch.inference_mode():
            ids = self.model.generate(**model_inputs(prompt), **limits, streamer=_Streamer(reply))
        reply.text = self.processor.tokenizer.decode(ids[0, len(prompt.ids) :], skip_special_tokens=True)
        reply.prompt_tokens = len(prompt.ids)
        reply.visual_tokens = sum(item.tokens for item in prompt.media)
        return reply


class _Streamer:
    """What `generate` tells: first the whole prompt (a batch of rows), then each token."""

    def __init__(self, reply: Reply):
        self.reply = reply

    def put(self, value: torch.Tensor) -> None:
        if value.ndim == 1:
            self.reply.token()

    def end(self) -> None:
        pass
