"""From messages (plain data) to what the model takes: token ids, pixels, grids.

Here: checking messages, the chat template, tokens, one placeholder for each visual token. Not here: opening files
(`media`), pixels (`vision_inputs`), running the model (`chat_session`).

A message is {"role": "system" | "user" | "assistant", "content": text or a list of content parts}; a content part is
{"type": "text", "text": str}, {"type": "image", "image": path, bytes of a file, or PIL image}, or
{"type": "video", "video": path, bytes of a file, or list of PIL images, "fps": float}, or
{"type": "document", "document": path or bytes of a PDF or TIFF, "pages": [numbers]} (see `session.documents`).

What people type stays text: "<|im_end|>" in a question is ten characters, never the token that ends a turn. A plain
`processor(text=...)` cannot tell the two apart, because it sees template and text as one string.
"""

import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch

from adapters.qwen_vl import family_of
from session.documents import parts_of
from session.sources import MediaError
from session.vision_inputs import MediaItem, MediaProcessor

ROLES = ("system", "user", "assistant")
MAX_PAGES_OF_MESSAGE = 16  # of all its documents: a page is up to 24 MB of patches
MAX_CHARACTERS = 500_000  # of all texts: more than any context holds, and little enough to tokenize
NOT_HEEDED = ("resized_height", "resized_width", "min_frames", "total_pixels")  # of qwen-vl-utils' names


class SessionError(ValueError):
    """Messages that cannot be answered. The text is a plain sentence that can be shown to a visitor."""


@dataclass(frozen=True)
class Prompt:
    """A conversation as the model takes it.

    ids: tokens, with one placeholder for each visual token. media: in the order of their placeholders.
    """

    ids: list[int]
    media: list[MediaItem] = field(default_factory=list)


def check_question(messages: list[dict]) -> None:
    """Raise SessionError unless `messages` is a conversation that waits for an answer. Opens no files."""
    check_messages(messages)
    if all(part["type"] == "text" and not part["text"].strip() for part in content_parts(messages[-1])):
        raise SessionError("This message is empty. Write something, or add a picture or a video.")


def check_messages(messages: list[dict]) -> None:
    """The same, but the last message may be empty as yet."""
    for message in messages:
        if message["role"] not in ROLES:
            raise SessionError(f"A message has the role {message['role']!r}; it must be one of {', '.join(ROLES)}.")
        for part in content_parts(message):
            _check_part(part)
    parts = [part for message in messages for part in content_parts(message) if part["type"] == "text"]
    if (length := sum(len(part["text"]) for part in parts)) > MAX_CHARACTERS:
        raise SessionError(
            f"This conversation has {length} characters; at most {MAX_CHARACTERS} are read. Begin a new one."
        )
    if not messages or messages[-1]["role"] != "user":
        raise SessionError("There is no question: the last message must be from the user.")


def content_parts(message: dict) -> list[dict]:
    """The content of `message` as a list of parts, also where it is one string."""
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])


def without_documents(parts: list[dict]) -> list[dict]:
    """`parts`, in which the pages of a document stand where it stood. Raises MediaError."""
    found = [page for part in parts for page in (parts_of(part) if part["type"] == "document" else [part])]
    if (pages := sum("page" in part for part in found)) > MAX_PAGES_OF_MESSAGE:
        raise MediaError(f"A message can have {MAX_PAGES_OF_MESSAGE} pages of documents; this one has {pages}.")
    return found


def build_prompt(
    processor,
    messages: list[dict],
    media: MediaProcessor | None = None,
    max_visual_tokens: int | None = None,
    owner: str = "",
    wanted: Callable[[], bool] = lambda: True,
) -> Prompt:
    """Tokens and media of `messages`. Raises MediaError; Interrupted once it is not `wanted` any more.

    media: a MediaProcessor that may know some of the files. max_visual_tokens, owner: see `MediaProcessor.process`.

    For text without control tokens the same, token for token, as
    `processor(text=[template], images=..., videos=...)`.
    """
    media = media or MediaProcessor(processor)
    return _prompt(processor, messages, lambda part: media.process(part, max_visual_tokens, owner, wanted))


def outline_prompt(
    processor, messages: list[dict], media: MediaProcessor, max_visual_tokens: int | None = None, owner: str = ""
) -> Prompt:
    """As `build_prompt`, but no pixel is made: its media have their grids alone, by the headers of their files."""
    return _prompt(processor, messages, lambda part: media.measure(part, max_visual_tokens, owner))


def count_visual_tokens(
    messages: list[dict], media: MediaProcessor, max_visual_tokens: int | None = None, owner: str = ""
) -> int:
    """Visual tokens of all pictures and videos of `messages`, by the headers of their files. Raises MediaError."""
    parts = [part for message in messages for part in without_documents(content_parts(message))]
    return sum(media.measure(part, max_visual_tokens, owner).tokens for part in parts if part["type"] != "text")


def _prompt(processor, messages: list[dict], process: Callable[[dict], MediaItem]) -> Prompt:
    stand_ins = _StandIns(process)
    skeleton = []
    for message in messages:
        content = [stand_ins.replace(part) for part in without_documents(content_parts(message))]
        skeleton.append({"role": message["role"], "content": content})
    ids = _tokenize(processor, skeleton, stand_ins)
    return Prompt(_with_placeholders(processor, ids, stand_ins.media), stand_ins.media)


def model_inputs(prompt: Prompt) -> dict[str, torch.Tensor]:
    """What `model.generate` takes: input_ids and attention_mask (1, tokens), and pixels and grids where there are
    any. For comparing with it: a session does not need them.
    """
    input_ids = torch.tensor([prompt.ids])
    names = dict.fromkeys(name for item in prompt.media for name in item.inputs)
    return {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids), **joined_inputs(prompt, names)}


def joined_inputs(prompt: Prompt, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Those of the inputs `names` that the prompt's media have, one after the other in one tensor each."""
    found = {name: [item.inputs[name] for item in prompt.media if name in item.inputs] for name in names}
    return {name: torch.cat(tensors) for name, tensors in found.items() if tensors}


class _StandIns:
    """Collects the texts and media of messages in order; the chat template gets a random marker for each text.

    Pictures become patches one by one, so that only one at a time is in memory in full size.
    """

    def __init__(self, process: Callable[[dict], MediaItem]):
        self.texts: list[str] = []
        self.media: list[MediaItem] = []
        self._process = process
        self._marker = secrets.token_hex(8)  # nobody can type what nobody knows

    def replace(self, part: dict) -> dict:
        if part["type"] == "text":
            self.texts.append(part["text"])
            return {"type": "text", "text": f"{self._marker}:{len(self.texts) - 1};"}
        self.media.append(self._process(part))
        return {"type": part["type"]}

    def restore(self, text: str) -> str:
        return re.sub(f"{self._marker}:(\\d+);", lambda match: self.texts[int(match[1])], text)


def _check_part(part: dict) -> None:
    kind = part.get("type")
    if kind not in ("text", "image", "video", "document") or kind not in part:
        raise SessionError(f"A message has a part of type {kind!r}; there are text, image, video and document.")
    if kind == "text" and not isinstance(part["text"], str):
        raise SessionError(f"A text in a message is a {type(part['text']).__name__}; it must be a string.")
    if ignored := [name for name in NOT_HEEDED if part.get(name) is not None]:
        raise SessionError(f"{ignored[0]} is not heeded here: use min_pixels, max_pixels, nframes or max_frames.")


def _tokenize(processor, skeleton: list[dict], stand_ins: _StandIns) -> list[int]:
    """Render the template around stand-ins, cut it at its control tokens, and tokenize what is between as mere text.

    A tokenizer treats what stands between two control tokens by itself, so the cutting changes no token.
    """
    tokenizer = processor.tokenizer
    control = {token.content: id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
    rendered = processor.apply_chat_template(skeleton, tokenize=False, add_generation_prompt=True)
    if family_of(processor).times_in_text:
        rendered = _with_times(processor, rendered, stand_ins.media)
    ids: list[int] = []
    for piece in re.split("(" + "|".join(map(re.escape, control)) + ")", rendered):
        if piece in control:
            ids.append(control[piece])
        else:
            text = stand_ins.restore(piece)
            ids += tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids


def _with_times(processor, rendered: str, media: list[MediaItem]) -> str:
    """`rendered`, in which each pair of a video's frames has a placeholder of its own, behind its time."""
    place = f"{processor.vision_start_token}{processor.video_token}{processor.vision_end_token}"
    before, *parts = rendered.split(place)
    videos = [item for item in media if item.kind == "video"]
    times = ("".join(f"<{time:.1f} seconds>{place}" for time in video.times) for video in videos)
    return before + "".join(map(str.__add__, times, parts))


def _with_placeholders(processor, ids: list[int], media: list[MediaItem]) -> list[int]:
    """`ids`, in which each placeholder stands as often as what it stands for has visual tokens: a picture, a video, or
    a pair of its frames.
    """
    placeholders = (processor.image_token_id, processor.video_token_id)
    one_by_one = family_of(processor).times_in_text
    counts = iter([count for item in media for count in _visual_tokens(item, one_by_one)])
    expanded: list[int] = []
    for token in ids:
        expanded += [token] * next(counts) if token in placeholders else [token]
    return expanded


def _visual_tokens(item: MediaItem, one_by_one: bool) -> list[int]:
    """How many visual tokens each placeholder of `item` stands for."""
    return [item.tokens // item.grid[0]] * item.grid[0] if one_by_one else [item.tokens]
