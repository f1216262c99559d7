"""The settings in the panel, and what they mean for the session.

Here: the controls, their limits, what the browser keeps of them, the line that predicts what a picture costs. Not here:
how an answer is generated (`session.decode`).
"""

import json
from dataclasses import dataclass

import gradio as gr

from chat_page.messages import STOPPED, content_of_input
from chat_page.strings import duration
from chat_session import ChatSession, MediaError, SessionError
from session.prompt import content_parts
from session.video_sampling import MAX_FRAMES

MAX_SYSTEM_CHARACTERS = 4000
SAMPLING = {"top_k": 50, "top_p": 0.95}  # given, because Qwen's own settings leave one token to choose from
AUTOMATIC = "Automatic"
VIDEO_FRAMES = {AUTOMATIC: 0, "Up to 8": 8, "Up to 32": 32, "Up to 128": 128, "Up to 256": 256}  # to choose from
NO_PICTURE = "Add a picture to see how many visual tokens it takes, and how long."


@dataclass(frozen=True)
class Settings:
    """What a visitor may set. repetition_penalty: 1 for the model's own. seed: 0 for another answer every time.
    visual_tokens: the most for each picture; None for what the processor says. video_frames: the most of each video; 0
    for what follows from its length.
    """

    system_prompt: str = ""
    temperature: float = 0
    max_tokens: int = 1024
    repetition_penalty: float = 1
    seed: int = 0
    visual_tokens: int | None = None
    video_frames: int = 0

    @classmethod
    def from_controls(cls, session: ChatSession, *values) -> "Settings":
        """The slider's highest visual tokens are no limit: then videos too get what the processor says."""
        *others, visual_tokens, video_frames = values
        _, highest = session.visual_token_budget
        return cls(*others, None if visual_tokens >= highest else int(visual_tokens), VIDEO_FRAMES.get(video_frames, 0))

    def given(self, messages: list[dict]) -> list[dict]:
        """What the model is given of `messages`: behind the system prompt, where there is one; and without questions
        whose answers ended before their first word, as in a page that was closed, lest it learns to say nothing.
        """
        system = self.system_prompt.strip()
        gaps = {i for i, answer in enumerate(messages) if (answer["content"], answer.get("note")) == ("", STOPPED)}
        answered = [message for i, message in enumerate(messages) if not gaps & {i, i + 1}]
        return [{"role": "system", "content": system}] * bool(system) + answered

    def with_frames(self, messages: list[dict]) -> list[dict]:
        """`messages`, whose videos are seen in as many frames as are set now, also those of before."""
        return [
            {**message, "content": [self._with_frames(part) for part in content_parts(message)]}
            if message["role"] == "user" else message
            for message in messages
        ]  # fmt: skip

    def _with_frames(self, part: dict) -> dict:
        if part["type"] != "video":
            return part
        return {"type": "video", "video": part["video"]} | (
            {"max_frames": self.video_frames} if self.video_frames else {}
        )

    def asked(self, before: list[dict], value: dict) -> list[dict]:
        """What the session is given when `value`, of the input box, is asked behind the conversation `before`."""
        question = {"role": "user", "content": content_of_input(value)}
        return self.given(self.with_frames([*before, question]))

    def options(self) -> dict:
        """For ChatSession.stream."""
        options = {
            "do_sample": bool(self.temperature), "max_new_tokens": self.max_tokens,
            "max_visual_tokens": self.visual_tokens, "stop_repetition": True,
        }  # fmt: skip
        if self.temperature:
            options |= {"temperature": self.temperature, **SAMPLING}
        if self.repetition_penalty != 1:
            options["repetition_penalty"] = self.repetition_penalty
        if self.seed:
            options["seed"] = self.seed
        return options


def controls(session: ChatSession) -> list[gr.components.Component]:
    """The controls, in the order of Settings' fields."""
    lowest, highest = session.visual_token_budget
    return [
        gr.Textbox(
            value="", label="System prompt", lines=2, max_length=MAX_SYSTEM_CHARACTERS,
            info="What the model is told before the conversation.",
        ),
        gr.Slider(
            0, 1.5, value=0, step=0.1, label="Temperature",
            info="0 takes the likeliest word every time. More makes answers differ from one retry to the next.",
        ),
        gr.Slider(16, 2048, value=1024, step=16, precision=0, label="Length", info="Most tokens of an answer."),
        gr.Slider(
            1, 1.5, value=1, step=0.05, label="Repetition penalty",
            info="More keeps a model from saying the same again and again. 1 is what the model was made for.",
        ),
        gr.Number(
            value=0, precision=0, minimum=0, maximum=2**32 - 1, label="Seed",
            info="0 draws anew every time. With any other number, a retry gives the same answer.",
        ),
        gr.Slider(
            lowest, highest, value=highest, step=1, precision=0, label="Picture detail",
            info="The most visual tokens for each picture. Fewer are faster, more show finer detail.",
        ),
        gr.Radio(
            list(VIDEO_FRAMES), value=AUTOMATIC, label="Video frames",
            info=f"Two a second, Automatic up to {MAX_FRAMES}. Fewer are faster, more are for long videos.",
        ),
    ]  # fmt: skip


def bring_back(shown: list[gr.components.Component]) -> str:
    """JavaScript that sets `shown` to what the visitor's browser kept of them, as far as they can be set to it now:
    another model has other limits.
    """
    return f"(...shown) => keptSettings(shown, {json.dumps([_limits(control) for control in shown])})"


def _limits(control: gr.components.Component) -> dict:
    match control:
        case gr.Radio():
            return {"choices": [value for _, value in control.choices]}
        case gr.Slider() | gr.Number():
            return {"least": control.minimum, "most": control.maximum}
    return {}


def predicted_cost(
    session: ChatSession, before: list[dict], value: dict, settings: Settings, visitor: str = ""
) -> str:
    """What the message in the input box would cost, behind the conversation `before`: a sentence."""
    if not value["files"]:
        return NO_PICTURE
    try:
        messages = settings.asked(before, value)
        cost = session.estimate(messages, max_visual_tokens=settings.visual_tokens, visitor=visitor)
    except (SessionError, MediaError) as error:
        return str(error)
    first_word = f"; the first word after {duration(cost.seconds)}" if cost.seconds is not None else ""
    return f"With the pictures of this conversation: {cost.visual_tokens} visual tokens{first_word}."
