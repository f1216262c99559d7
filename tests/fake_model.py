"""A model that says what a test tells it to, token by token, and a processor made of nothing: no weights, no files.

`FakeModel` takes the place of `session.ov_model.VisionLanguageModel` in a `FakeSession`. `fake_processor` is
Transformers' own Qwen2-VL processor around a tokenizer with one token for each byte.
"""

import threading
from collections.abc import Callable, Iterable
from types import SimpleNamespace

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.models.qwen2_vl import Qwen2VLImageProcessorFast, Qwen2VLProcessor, Qwen2VLVideoProcessor

from adapters.qwen_vl import PIXELS_PER_TOKEN
from chat_session import ChatSession
from session.answer import Interrupted
from session.prompt import model_inputs

CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
                  "<|video_pad|>"]
VOCABULARY = 256 + len(CONTROL_TOKENS)
END, PLACEHOLDERS = 256 + CONTROL_TOKENS.index("<|im_end|>"), (VOCABULARY - 2, VOCABULARY - 1)
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
    budget = {"shortest_edge": 4 * PIXELS_PER_TOKEN, "longest_edge": 64 * PIXELS_PER_TOKEN}
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessorFast(size=dict(budget)),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=dict(budget)),
        chat_template=TEMPLATE,
    )


class FakeModel:
    """Answers with `say(inputs)`: token ids. With `gated`, it waits for `allow(n)` before each token.

    Seen from outside: `calls` (the inputs of each prompt that was placed), `said` (tokens so far, of all answers),
    `most_at_once`, and `told_to_stop`, an event that is set when an answer is closed before its end.

    Embeddings are the token ids themselves, and -1 for what was seen in a picture.
    """

    def __init__(self, say: Callable[[dict], Iterable[int]], *, window: int = 32768, practice: bool = False,
                 gated: bool = False):
        self.config = SimpleNamespace(practice_model=practice)
        self.generation_config = SimpleNamespace(eos_token_id=END)
        self.context_length, self.placeholder_ids = window, PLACEHOLDERS
        self.wanted = lambda: True
        self.begin(say, gated=gated)

    def begin(self, say: Callable[[dict], Iterable[int]], *, gated: bool = False) -> None:
        """Forget everything and say something else from now on: a page that is served goes on with it."""
        self.say = say
        self.calls: list[dict] = []
        self.said: list[int] = []
        self.seen = 0  # blocks
        self.looking, self.may_look = threading.Event(), threading.Event()  # cleared, it looks until it is set
        self.may_look.set()
        self.most_at_once = 0
        self.prompts: dict[tuple, dict] = {}
        self.running = 0
        self._gate = threading.Semaphore(0 if gated else 10**9)
        self.told_to_stop = threading.Event()

    def position_ids(self, prompt):
        self.calls.append(model_inputs(prompt))
        self.prompts[tuple(-1 if i in PLACEHOLDERS else i for i in prompt.ids)] = self.calls[-1]
        return np.zeros((3, len(prompt.ids)), dtype=int), len(prompt.ids)

    def embed(self, tokens):
        return np.array([[[-1 if i in PLACEHOLDERS else i] for i in tokens]])

    def encode(self, block):
        self.looking.set()
        while not self.may_look.wait(0.01):
            if not self.wanted():
                self.told_to_stop.set()
                raise Interrupted
        self.seen += 1
        return np.full((1, block.tokens, 1), -1)

    def new_cache(self) -> "FakeCache":
        return FakeCache(self)

    def allow(self, tokens: int = 1000) -> None:
        self._gate.release(tokens)

    def wait_for_gate(self) -> None:
        while not self._gate.acquire(timeout=0.01):
            if not self.wanted():
                self.told_to_stop.set()
                raise Interrupted


class FakeCache:
    copies = 0  # made of any

    def __init__(self, model: FakeModel):
        self._model, self._tokens, self._answer, self._gaps = model, [], None, 0

    @property
    def length(self) -> int:
        return len(self._tokens)

    @property
    def bytes(self) -> int:
        return 4 * self.length

    @property
    def gaps(self) -> int:
        return self._gaps

    def copy_from(self, other: "FakeCache", length: int) -> None:
        FakeCache.copies += 1
        self._tokens = other._tokens[:length]

    def roll_back(self, tokens: int) -> None:
        self._tokens = self._tokens[: len(self._tokens) - tokens]
        self._gaps += tokens

    def forward(self, embeddings, position_ids):
        model = self._model
        model.running += 1
        model.most_at_once = max(model.most_at_once, model.running)
        try:
            tokens = self._tokens + embeddings[0, :, 0].tolist()
            answer = self._answer
            if tuple(tokens) in model.prompts:
                answer = iter(model.say(model.prompts[tuple(tokens)]))
            token = next(answer, END) if answer else END
            if token != END:
                model.wait_for_gate()
                model.said.append(token)
            self._tokens, self._answer = tokens, answer
            return np.eye(1, VOCABULARY, token, dtype=np.float32)
        finally:
            model.running -= 1


class FakeSession(ChatSession):
    """A ChatSession on a FakeModel: only what is below `session.ov_model` is not the real thing. It drafts nothing, so
    that tests let it say one token at a time.
    """

    model_class = staticmethod(lambda model: model)

    def __init__(self, *args, **options):
        super().__init__(*args, max_draft_tokens=0, **options)

    def _texts(self, *args):
        try:
            yield from super()._texts(*args)
        except GeneratorExit:
            self._model.told_to_stop.set()
            raise


def saying(text: str, processor, **options) -> FakeModel:
    """A model whose every answer is `text`, one byte at a time."""
    return FakeModel(words(text, processor), **options)


def echoing(processor, **options) -> FakeModel:
    """A model that answers with the text of the last user message, so that a mix-up of conversations shows."""
    return FakeModel(echo(processor), **options)


def words(text: str, processor) -> Callable[[dict], list[int]]:
    return lambda inputs: processor.tokenizer(text)["input_ids"]


def echo(processor) -> Callable[[dict], list[int]]:
    return lambda inputs: processor.tokenizer(last_question(inputs, processor), split_special_tokens=True)["input_ids"]


def last_question(inputs: dict, processor) -> str:
    prompt = processor.tokenizer.decode(inputs["input_ids"][0])
    return prompt.rpartition("<|im_start|>user\n")[2].partition("<|im_end|>\n<|im_start|>assistant")[0].rpartition(
        "<|vision_end|>")[2]
