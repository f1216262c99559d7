"""Our ChatSession."""

from adapters.optimum_intel import import_library
from benchmarks.engines import take_pictures_as_they_are
from benchmarks.scenario import Reply
from catalog.open import open_model
from chat_session import ChatSession

import_library()


def open_session(folder, ov_config: dict | None = None, **options) -> ChatSession:
    model, processor = open_model(folder, "CPU", ov_config=ov_config)
    return ChatSession(model, processor, **options)


class Engine:
    """One session for all that is asked, as on the chat page."""

    def __init__(self, model_dir, weights=None, ov_config=None):
        # Random weights repeat themselves, so that every draft token would be accepted: see benchmarks/drafts.py.
        self.session = open_session(model_dir, ov_config, max_draft_tokens=0)
        take_pictures_as_they_are(self.session.processor)

    def ask(self, messages: list[dict], new_tokens: int) -> Reply:
        answer = self.session.stream(messages, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False)
        text = "".join(answer)
        names = ("prompt_tokens", "visual_tokens", "cached_tokens", "answer_tokens", "first_token_s", "total_s")
        return Reply(text, **{name: getattr(answer.stats, name) for name in names})

    def prepare(self, messages: list[dict]) -> None:
        self.session.prepare(messages)
