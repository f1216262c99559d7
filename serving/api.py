"""/v1/chat/completions and /v1/models, as OpenAI's clients speak them.

Here: requests to messages and options, answers to completions and chunks, errors as their error objects, the key.
Not here: answering (`serving.remote`). Not offered, and refused where it would change the answer: several choices,
tools, log probabilities, penalties, response formats, pictures at an address.
"""

import asyncio
import base64
import binascii
import contextlib
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chat_page.messages import MAX_FILES
from chat_session import Answer, MediaError, SessionError
from serving.wire import MAX_BYTES, BusyError, LostError

MAX_BODY = MAX_BYTES * 4 // 3 + (4 << 20)  # as base64, and text
MAX_TOKENS = 2048  # as on the page
AT_ONCE = 256  # answers and those who wait, each with a thread
PATIENCE_S = 0.5  # between two looks whether the client is still there
REMOTE = "Only pictures in the request itself can be used: data:image/…;base64,… Nothing is fetched from an address."


class ApiError(Exception):
    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None):
        super().__init__(message)
        kind = "invalid_request_error" if status < 429 else "rate_limit_error" if status == 429 else "server_error"
        self.status, self.body = status, {"message": message, "type": kind, "param": param, "code": code}


class _ImageURL(BaseModel):
    url: str
    detail: str = "auto"


class _Part(BaseModel):
    type: Literal["text", "image_url"]
    text: str = ""
    image_url: _ImageURL | None = None


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]


class _StreamOptions(BaseModel):
    include_usage: bool = False


class Completion(BaseModel):
    """What may be asked. Fields of one value are what others are refused for; the last ones change no answer."""

    model_config = ConfigDict(extra="forbid")
    model: str
    messages: list[_Message] = Field(min_length=1, max_length=1000)
    max_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    max_completion_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    n: Literal[1] | None = 1
    logprobs: Literal[False] | None = False
    presence_penalty: Literal[0] | None = 0
    frequency_penalty: Literal[0] | None = 0
    user: Any = None
    metadata: Any = None
    store: Any = None

    def options(self) -> dict:
        """For ChatSession.stream; without a temperature, the likeliest word every time."""
        options = {"do_sample": bool(self.temperature), "max_new_tokens": self.max_new_tokens}
        if self.temperature:
            options |= {"temperature": self.temperature, "top_k": 50, "top_p": self.top_p or 1.0}
            options |= {} if self.seed is None else {"seed": self.seed % 2**63}
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return options | ({"stop": tuple(stops)} if stops else {})

    @property
    def max_new_tokens(self) -> int:
        return self.max_completion_tokens or self.max_tokens or 256


def api(session, name: str, key: str) -> FastAPI:
    """session: a RemoteSession. name: of its model. key: "" lets everybody in."""
    app, threads = FastAPI(docs_url=None, redoc_url=None, openapi_url=None), ThreadPoolExecutor(AT_ONCE, "answer")
    model = {"id": name, "object": "model", "created": int(time.time()), "owned_by": "local"}

    def let_in(request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), key.encode()) and key:
            raise ApiError(401, "This server wants its key: Authorization: Bearer …", "invalid_api_key")

    @app.exception_handler(ApiError)
    async def refuse(_: Request, error: ApiError) -> JSONResponse:
        headers = {"Retry-After": "5"} if error.status == 429 else {}
        return JSONResponse({"error": error.body}, error.status, headers)

    @app.get("/v1/models", dependencies=[Depends(let_in)])
    async def models() -> dict:
        return {"object": "list", "data": [model]}

    @app.get("/v1/models/{wanted}", dependencies=[Depends(let_in)])
    async def one_model(wanted: str) -> dict:
        return model if wanted == name else _no_model(wanted, name)

    @app.post("/v1/chat/completions", dependencies=[Depends(let_in)])
    async def complete(request: Request):
        asked = await _read(request)
        if asked.model != name:
            _no_model(asked.model, name)
        answer = session.stream(_messages(asked), **asked.options())
        pieces = _pieces(answer, threads)
        reply = _Reply(asked, answer)
        async with _watched(request, answer):  # the first piece, so that what is wrong has its own status
            first = await anext(pieces, "")
            if not asked.stream:
                return reply.whole(first + "".join([piece async for piece in pieces]))
        return StreamingResponse(reply.chunks(first, pieces), media_type="text/event-stream")

    return app


class _Reply:
    """One answer in their words."""

    def __init__(self, asked: Completion, answer: Answer):
        self._asked, self._answer = asked, answer
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": asked.model}

    def whole(self, text: str) -> dict:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": self._reason()}
        return self._head | {"object": "chat.completion", "choices": [choice], "usage": self._usage()}

    async def chunks(self, first: str, pieces: AsyncIterator[str]) -> AsyncIterator[str]:
        try:
            yield self._chunk({"role": "assistant", "content": first})
            async for piece in pieces:
                yield self._chunk({"content": piece})
            yield self._chunk({}, self._reason())
            if self._asked.stream_options and self._asked.stream_options.include_usage:
                yield _event(self._head | {"object": "chat.completion.chunk", "choices": [], "usage": self._usage()})
            yield "data: [DONE]\n\n"
        except ApiError as error:
            yield _event({"error": error.body})
        finally:  # also where the client has gone
            self._answer.stop()

    def _chunk(self, delta: dict, reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return _event(self._head | {"object": "chat.completion.chunk", "choices": [choice]})

    def _reason(self) -> str:
        return "length" if self._answer.stats.answer_tokens >= self._asked.max_new_tokens else "stop"

    def _usage(self) -> dict:
        stats = self._answer.stats
        counts = {"prompt_tokens": stats.prompt_tokens, "completion_tokens": stats.answer_tokens}
        cached = {"prompt_tokens_details": {"cached_tokens": stats.reused_tokens}}
        return counts | {"total_tokens": sum(counts.values())} | cached


def _event(data: dict) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


async def _read(request: Request) -> Completion:
    """The body, no more of it than MAX_BODY."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise ApiError(413, f"A request can have {MAX_BODY >> 20} MB.")
    try:
        return Completion.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        param = ".".join(map(str, first["loc"])) or None
        unknown = first["type"] in ("extra_forbidden", "literal_error")
        raise ApiError(400, f"{param}: {first['msg']}", "unsupported_value" if unknown else None, param) from None


def _no_model(wanted: str, name: str):
    raise ApiError(404, f"There is no model {wanted!r} here, only {name!r}.", "model_not_found", "model")


def _messages(asked: Completion) -> list[dict]:
    return [{"role": "system" if m.role == "developer" else m.role, "content": _content(m)} for m in asked.messages]


def _content(message: _Message) -> str | list[dict]:
    if isinstance(message.content, str):
        return message.content
    pictures = [part for part in message.content if part.type == "image_url"]
    if len(pictures) > MAX_FILES:
        raise ApiError(400, f"A message can have {MAX_FILES} pictures; this one has {len(pictures)}.")
    return [{"type": "text", "text": p.text} if p.type == "text" else _image(p) for p in message.content]


def _image(part: _Part) -> dict:
    head, _, data = (part.image_url.url if part.image_url else "").partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64")):
        raise ApiError(400, REMOTE, "invalid_image_url", "messages")
    try:
        return {"type": "image", "image": base64.b64decode(data, validate=True)}
    except binascii.Error as error:
        raise ApiError(400, "This picture is not valid base64.", "invalid_base64_image", "messages") from error


async def _pieces(answer: Answer, threads: ThreadPoolExecutor) -> AsyncIterator[str]:
    """Pieces as they come, each awaited in a thread. Raises ApiError."""
    loop = asyncio.get_running_loop()
    try:
        while (piece := await loop.run_in_executor(threads, next, answer, None)) is not None:
            yield piece
    except BusyError as error:
        raise ApiError(429, str(error), "busy") from error
    except LostError as error:
        raise ApiError(503, str(error), "lost") from error
    except (SessionError, MediaError, ValueError) as error:
        raise ApiError(400, str(error)) from error
    except Exception as error:
        raise ApiError(500, f"The model failed ({type(error).__name__}).") from error
    finally:
        answer.stop()


@contextlib.asynccontextmanager
async def _watched(request: Request, answer: Answer) -> AsyncIterator[None]:
    """Inside, the answer is stopped when the client goes away."""

    async def watch() -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(PATIENCE_S)
        answer.stop()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
