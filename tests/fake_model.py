"""A model that says what a test tells it to, token by token, and a processor made of nothing: no weights, no files.

`FakeModel.generate` calls its streamer and stopping criteria as Transformers does, so a ChatSession runs on it
unchanged. `fake_processor` is Transformers' own Qwen2-VL processor around a tokenizer with one token for each byte.
"""

import threading
from collections.abc import Callable, Iterable
from types import SimpleNamespace

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.models.qwen2_vl import Qwen2VLImageProcessorFast, Qwen2VLProcessor, Qwen2VLVideoProcessor

CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
                  "<|video_pad|>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for content in message['content'] %}"
    "{% if content['type'] == 'text' %}{{ content['text'] }}"
    "{% else %}<|vision_start|><|{{ content['type'] }}_pad|><|vision_end|>{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def fake_processor() -> Qwen2VLProcessor:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    budget = {"shortest_edge": 4 * 28 * 28, "longest_edge": 64 * 28 * 28}
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessorFast(size=dict(budget)),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=dict(budget)),
        chat_template=TEMPLATE,
    )


class FakeModel:
    """Answers with `say(inputs)`: token ids. With `gated`, it waits for `allow(n)` before each token.

    Seen from outside: `calls` (the inputs of each `generate`), `said` (tokens so far, of all calls), `most_at_once`,
    and `told_to_stop`, an event that is set when the stopping criteria say so, also while it waits for a token.
    """

    def __init__(self, say: Callable[[dict], Iterable[int]], *, window: int = 32768, practice: bool = False,
                 gated: bool = False):
        self.config = SimpleNamespace(
            get_text_config=lambda: SimpleNamespace(max_position_embeddings=window), practice_model=practice
        )
        self.say = say
        self.calls: list[dict] = []
        self.said: list[int] = []
        self.most_at_once = 0
        self._running = 0
        self._gate = threading.Semaphore(0 if gated else 10**9)
        self.told_to_stop = threading.Event()

    def allow(self, tokens: int = 1000) -> None:
        self._gate.release(tokens)

    def _wait_for_gate(self, stopping: Callable[[], bool]) -> None:
        while not self._gate.acquire(timeout=0.01):
            stopping()

    def generate(self, *, streamer, stopping_criteria, max_new_tokens, **inputs):
        def stopping() -> bool:
            if told := bool(stopping_criteria(inputs["input_ids"], None).all()):
                self.told_to_stop.set()
            return told

        self.calls.append({"max_new_tokens": max_new_tokens, **inputs})
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        try:
            streamer.put(inputs["input_ids"])
            for _, token in zip(range(max_new_tokens), self.say(inputs), strict=False):
                self._wait_for_gate(stopping)
                streamer.put(torch.tensor([token]))
                self.said.append(token)
                if stopping():
                    break
            streamer.end()
        finally:
            self._running -= 1


def saying(text: str, processor, **options) -> FakeModel:
    """A model whose every answer is `text`, one byte at a time."""
    return FakeModel(lambda inputs: processor.tokenizer(text)["input_ids"], **options)


def echoing(processor, **options) -> FakeModel:
    """A model that answers with the text of the last user message, so that a mix-up of conversations shows."""
    def say(inputs: dict) -> list[int]:
        return processor.tokenizer(last_question(inputs, processor), split_special_tokens=True)["input_ids"]
    return FakeModel(say, **options)


def last_question(inputs: dict, processor) -> str:
    prompt = processor.tokenizer.decode(inputs["input_ids"][0])
    return prompt.rpartition("<|im_start|>user\n")[2].partition("<|im_end|>\n<|im_start|>assistant")[0].rpartition(
        "<|vision_end|>")[2]
