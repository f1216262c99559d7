"""From messages (plain data) to what the model is fed: token ids, pixels, grids.

Here: checking messages, the chat template, tokens, one placeholder for each visual token. Not here: opening files
(`media`), pixels (`patches`), running the model (`chat_session`).

A message is {"role": "system" | "user" | "assistant", "content": text or a list of blocks}; a block is
{"type": "text", "text": str}, {"type": "image", "image": path, bytes of a file, or PIL image}, or
{"type": "video", "video": path, bytes of a file, or list of PIL images, "fps": float}.

What people type stays text: "<|im_end|>" in a question is ten characters, never the token that ends a turn. A plain
`processor(text=...)` cannot tell the two apart, because it sees template and text as one string.
"""

import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch

from session.patches import Medium, Patches

ROLES = ("system", "user", "assistant")
MAX_CHARACTERS = 10_000  # of one message by a user: some five pages


class SessionError(ValueError):
    """Messages that cannot be answered. The text is a plain sentence that can be shown to a visitor."""


@dataclass(frozen=True)
class Prompt:
    """A conversation as the model reads it.

    ids: tokens, with one placeholder for each visual token. media: in the order of their placeholders.
    """

    ids: list[int]
    media: list[Medium] = field(default_factory=list)


def check_messages(messages: list[dict]) -> None:
    """Raise SessionError unless `messages` is a conversation that waits for an answer. Opens no files."""
    check_parts(messages)
    if all(block["type"] == "text" and not block["text"].strip() for block in blocks(messages[-1])):
        raise SessionError("This message is empty. Write something, or add a picture or a video.")


def check_parts(messages: list[dict]) -> None:
    """The same, but the last message may be empty as yet."""
    for message in messages:
        if message["role"] not in ROLES:
            raise SessionError(f"A message has the role {message['role']!r}; it must be one of {', '.join(ROLES)}.")
        for block in blocks(message):
            _check_block(block)
        length = sum(len(block.get("text", "")) for block in blocks(message))
        if message["role"] == "user" and length > MAX_CHARACTERS:
            raise SessionError(f"This message has {length} characters; at most {MAX_CHARACTERS} fit. Shorten it.")
    if not messages or messages[-1]["role"] != "user":
        raise SessionError("There is no question: the last message must be from the user.")


def blocks(message: dict) -> list[dict]:
    """The content of `message` as a list of blocks, also where it is one string."""
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])


def build_prompt(
    processor, messages: list[dict], patches: Patches | None = None, max_visual_tokens: int | None = None
) -> Prompt:
    """Tokens and media of `messages`. Raises MediaError.

    patches: to ask for media that were used before. max_visual_tokens: see `Patches.of`.

    For text without control tokens the same, token for token, as
    `processor(text=[template], images=..., videos=...)`.
    """
    patches = patches or Patches(processor)
    parts = _Parts(lambda block: patches.of(block, max_visual_tokens))
    skeleton = [{"role": m["role"], "content": [parts.take(block) for block in blocks(m)]} for m in messages]
    ids = _tokenize(processor, skeleton, parts)
    counts, pads = iter(parts.media), (processor.image_token_id, processor.video_token_id)
    return Prompt([id_ for id_ in ids for _ in range(next(counts).tokens if id_ in pads else 1)], parts.media)


def model_inputs(prompt: Prompt) -> dict[str, torch.Tensor]:
    """What `model.generate` takes: input_ids and attention_mask (1, tokens), and pixels and grids where there are
    any.
    """
    input_ids = torch.tensor([prompt.ids])
    names = dict.fromkeys(name for medium in prompt.media for name in medium.inputs)
    return {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids), **joined(prompt, names)}


def joined(prompt: Prompt, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Those of the inputs `names` that the prompt's media have, one after the other in one tensor each."""
    found = {name: [m.inputs[name] for m in prompt.media if name in m.inputs] for name in names}
    return {name: torch.cat(tensors) for name, tensors in found.items() if tensors}


class _Parts:
    """What the messages hold, by kind and in order; the chat template is shown a stand-in for each text.

    Pictures become patches one by one, so that only one at a time is in memory in full size.
    """

    def __init__(self, open_medium: Callable[[dict], Medium]):
        self.texts: list[str] = []
        self.media: list[Medium] = []
        self._open = open_medium
        self._marker = secrets.token_hex(8)  # nobody can type what nobody knows

    def take(self, block: dict) -> dict:
        if block["type"] == "text":
            self.texts.append(block["text"])
            return {"type": "text", "text": f"{self._marker}:{len(self.texts) - 1};"}
        self.media.append(self._open(block))
        return {"type": block["type"]}

    def put_back(self, text: str) -> str:
        return re.sub(f"{self._marker}:(\\d+);", lambda match: self.texts[int(match[1])], text)


def _check_block(block: dict) -> None:
    kind = block.get("type")
    if kind not in ("text", "image", "video") or kind not in block:
        raise SessionError(f"A message has a part of type {kind!r}; it must be a text, an image or a video.")
    if kind == "text" and not isinstance(block["text"], str):
        raise SessionError(f"A text in a message is a {type(block['text']).__name__}; it must be a string.")


def _tokenize(processor, skeleton: list[dict], parts: _Parts) -> list[int]:
    """Render the template around stand-ins, cut it at its control tokens, and tokenize what is between as mere text.

    A tokenizer treats what stands between two control tokens by itself, so the cutting changes no token.
    """
    tokenizer = processor.tokenizer
    control = {token.content: id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
    rendered = processor.apply_chat_template(skeleton, tokenize=False, add_generation_prompt=True)
    ids = []
    for piece in re.split("(" + "|".join(map(re.escape, control)) + ")", rendered):
        if piece in control:
            ids.append(control[piece])
        else:
            text = parts.put_back(piece)
            ids += tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids
