"""What clients send to /v1/chat/completions, as messages and options of a session.

    asked = parse(body)
    session.stream(asked.conversation(), **asked.options())

Here: OpenAI's fields (https://platform.openai.com/docs/api-reference/chat), and vLLM's beyond them
(https://docs.vllm.ai/en/stable/serving/openai_compatible_server.html). A field that is null is one that is absent; one
that changes nothing, or that nobody knows, is accepted; one that would change the answer and is not there is refused by
name. Not here: pictures (`serving.media_parts`), answers (`serving.openai_api`).
"""

from typing import Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from adapters.json_size import has_more_entries
from serving.errors import RequestError
from serving.media_parts import MAX_MEDIA, part_of
from session.documents import MAX_PAGES
from session.prompt import MAX_CHARACTERS

MAX_MESSAGES = 1000
MAX_ENTRIES = 100_000  # of all lists and dictionaries: a schema of 100 000 characters has a third
MAX_STOPS, MAX_STOP_CHARACTERS = 4, 200
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# {field: (values that change nothing, what to do instead)}
NOT_OFFERED: dict[str, tuple[tuple, str]] = {
    "n": ((1,), "ask again for another answer"),
    "best_of": ((1,), "ask again for another answer"),
    "logprobs": ((False,), "leave it out"),
    "top_logprobs": ((0,), "leave it out"),
    "logit_bias": (({},), "leave it out"),
    "tools": (([],), "say in the question what to answer, or use response_format"),
    "functions": (([],), "say in the question what to answer, or use response_format"),
    "tool_choice": (("none", "auto"), "leave it out"),
    "function_call": (("none", "auto"), "leave it out"),
    "modalities": ((["text"], []), "answers are text"),
    "audio": ((), "answers are text"),
    "web_search_options": ((), "nothing is looked up"),
    "use_beam_search": ((False,), "leave it out"),
    "echo": ((False,), "leave it out"),
}


class ChatCompletionRequest(BaseModel, extra="allow"):
    """One request; unknown fields are kept and have no effect."""

    model: str
    messages: list[dict] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)  # the newer name, which counts where both are given
    temperature: float = Field(0, ge=0, le=2)  # 0: the most likely token every time
    top_p: float = Field(1, ge=0, le=1)
    top_k: int = Field(50, ge=-1)
    min_p: float = Field(0, ge=0, le=1)
    frequency_penalty: float = Field(0, ge=-2, le=2)
    presence_penalty: float = Field(0, ge=-2, le=2)
    repetition_penalty: float = Field(1, gt=0, le=10)
    seed: int | None = None
    stop: str | list[str] = Field(default_factory=list)
    stream: bool = False
    stream_options: dict = Field(default_factory=dict)
    response_format: dict = {"type": "text"}
    continue_final_message: bool = False
    user: str = ""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, fields: Any) -> Any:
        return (
            {name: value for name, value in fields.items() if value is not None} if isinstance(fields, dict) else fields
        )

    @property
    def includes_usage(self) -> bool:
        return bool(self.stream_options.get("include_usage"))

    def check(self) -> None:
        """Raises RequestError, by name, for what would change the answer and is not offered."""
        for name, (neutral, instead) in NOT_OFFERED.items():
            value = (self.model_extra or {}).get(name)
            is_moot = name in ("tool_choice", "function_call") or (name == "tools" and self._never_called())
            if value is not None and value not in neutral and not is_moot:
                raise RequestError(f"{name} is not offered here: {instead}.", name)
        stops = self.stops()
        if len(stops) > MAX_STOPS or any(len(stop) > MAX_STOP_CHARACTERS for stop in stops):
            raise RequestError(
                f"stop can be up to {MAX_STOPS} texts of up to {MAX_STOP_CHARACTERS} characters each.", "stop"
            )
        if "" in stops:
            raise RequestError("stop is empty, which would end every answer before it begins.", "stop")

    def _never_called(self) -> bool:
        return (self.model_extra or {}).get("tool_choice") == "none"

    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def conversation(self) -> list[dict]:
        """The messages as a session takes them; pictures and videos are bytes. Raises RequestError."""
        messages = [_message(message, f"messages[{i}]") for i, message in enumerate(self.messages)]
        parts = [part for message in messages for part in message["content"]]
        pictures = sum({"text": 0, "document": MAX_PAGES}.get(part["type"], 1) for part in parts)
        if pictures > MAX_MEDIA:
            raise RequestError(
                f"A request can have {MAX_MEDIA} pictures and videos; a document counts as {MAX_PAGES}.", "messages"
            )
        if (length := sum(len(part.get("text", "")) for part in parts)) > MAX_CHARACTERS:
            raise RequestError(f"The messages have {length} characters; at most {MAX_CHARACTERS} are read.", "messages")
        return messages

    def options(self) -> dict:
        """For a session's `stream`. Without a length, an answer is as long as the context has room for."""
        options: dict[str, Any] = {
            "max_new_tokens": self.max_completion_tokens or self.max_tokens, "stop": self.stops(),
            "repetition_penalty": self.repetition_penalty, "frequency_penalty": self.frequency_penalty,
            "presence_penalty": self.presence_penalty, "do_sample": bool(self.temperature),
            "continue_final_message": self.continue_final_message,
        }  # fmt: skip
        if self.temperature:
            options |= {
                "temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p, "min_p": self.min_p,
                "seed": None if self.seed is None or self.seed < 0 else self.seed % 2**63,
            }  # fmt: skip
        if (schema := self._schema()) is not None:
            options["json_schema"] = schema
        return options

    def _schema(self) -> dict | bool | None:
        match self.response_format:
            case {"type": "text"}:
                return None
            case {"type": "json_object"}:
                return True
            case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
                return schema
        raise RequestError(
            "response_format is of type text, json_object, or json_schema, which has its schema in json_schema.schema.",
            "response_format",
        )


def parse(body: bytes) -> ChatCompletionRequest:
    """Raises RequestError for what is no such request; the first field that is wrong is named."""
    if has_more_entries(body, MAX_ENTRIES):
        raise RequestError(f"This is no JSON object, or one with more than {MAX_ENTRIES} entries.")
    try:
        asked = ChatCompletionRequest.model_validate_json(body)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        param = ".".join(str(step) for step in wrong["loc"][:1])
        raise RequestError(
            f"{param}: {wrong['msg']}" if param else f"This is no JSON object: {wrong['msg']}", param
        ) from error
    asked.check()
    return asked


def _message(message: dict, where: str) -> dict:
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise RequestError(f"{where} has the role {str(role)[:50]!r}; there are {', '.join(ROLES)}.", f"{where}.role")
    content = message.get("content")
    if message.get("tool_calls"):
        raise RequestError(f"{where} has tool_calls, which are not offered here.", f"{where}.tool_calls")
    if content is None and role == "assistant":
        content = ""
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise RequestError(f"{where} has no content: a text, or a list of parts.", f"{where}.content")
    return {"role": ROLES[role], "content": [part_of(part, f"{where}.content[{i}]") for i, part in enumerate(content)]}
