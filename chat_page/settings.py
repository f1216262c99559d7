"""The settings in the closed accordion, and what they mean for the session.

Here: the controls, their limits, the line that predicts what a picture costs. Not here: how an answer is written
(`session.decode`).
"""

from dataclasses import dataclass

import gradio as gr

from chat_page.messages import as_blocks
from chat_page.strings import seconds
from chat_session import ChatSession, MediaError, SessionError

MAX_SYSTEM = 4000  # characters
SAMPLING = {"top_k": 50, "top_p": 0.95}  # said, because Qwen's own settings leave one word to choose from
NO_PICTURE = "Add a picture to see how many visual tokens it takes, and how long."


@dataclass(frozen=True)
class Settings:
    """What a visitor may set; visual_tokens are the most for each picture."""

    system_prompt: str = ""
    temperature: float = 0
    max_tokens: int = 256
    seed: int = 0
    visual_tokens: int | None = None

    @classmethod
    def of(cls, session: ChatSession, *values) -> "Settings":
        """From the controls. The most visual tokens is no limit: then videos too get what the processor says."""
        *others, visual_tokens = values
        return cls(*others, None if visual_tokens >= session.visual_token_budget[1] else int(visual_tokens))

    def with_system(self, messages: list[dict]) -> list[dict]:
        system = self.system_prompt.strip()
        return [{"role": "system", "content": system}, *messages] if system else messages

    def options(self) -> dict:
        """For ChatSession.stream."""
        how = {"temperature": self.temperature, **SAMPLING} if self.temperature else {}
        seed = {"seed": self.seed} if self.seed else {}
        return {
            "do_sample": bool(self.temperature), "max_new_tokens": self.max_tokens,
            "max_visual_tokens": self.visual_tokens, **how, **seed,
        }  # fmt: skip


def controls(session: ChatSession) -> list[gr.components.Component]:
    """The controls, in the order of Settings' fields."""
    lowest, highest = session.visual_token_budget
    return [
        gr.Textbox(
            value="", label="System prompt", lines=2, max_length=MAX_SYSTEM,
            info="What the model is told before the conversation.",
        ),
        gr.Slider(
            0, 1.5, value=0, step=0.1, label="Temperature",
            info="0 takes the likeliest word every time. More makes answers differ from one retry to the next.",
        ),
        gr.Slider(16, 2048, value=256, step=16, precision=0, label="Length", info="Most tokens of an answer."),
        gr.Number(
            value=0, precision=0, minimum=0, maximum=2**32 - 1, label="Seed",
            info="0 draws anew every time. With any other number, a retry gives the same answer.",
        ),
        gr.Slider(
            lowest, highest, value=highest, step=1, precision=0, label="Visual tokens",
            info="Most for each picture. Fewer are faster, more show finer detail.",
        ),
    ]  # fmt: skip


def predicted(session: ChatSession, before: list[dict], message: dict | None, settings: Settings) -> str:
    """What the message in the input box would cost."""
    if not message or not message["files"]:
        return NO_PICTURE
    try:
        asked = settings.with_system([*before, {"role": "user", "content": as_blocks(message)}])
        cost = session.estimate(asked, max_visual_tokens=settings.visual_tokens)
    except (SessionError, MediaError) as error:
        return str(error)
    time = f"; the first word after {seconds(cost.seconds)}" if cost.seconds is not None else ""
    return f"With the pictures of this conversation: {cost.visual_tokens} visual tokens{time}."
