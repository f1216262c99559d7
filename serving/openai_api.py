"""/v1/chat/completions and /v1/models, as OpenAI's clients speak them.

Here: requests to messages and options, answers to completions and chunks, errors as their error objects, the key.
Fields that ChatCompletionRequest lacks are refused. Not here: answering (`serving.remote`), checking messages
(`session.prompt`).
"""

import asyncio
import base64
import binascii
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import AliasChoices, BaseModel, Field, ValidationError

from chat_session import Answer
from serving.remote import MAX_BYTES, BusyError, LostError

MAX_BODY_BYTES = MAX_BYTES * 4 // 3 + (4 << 20)  # as base64, and text
MAX_THREADS = 256  # for answers under way and those that wait
STATUSES = {BusyError: 429, LostError: 503, RuntimeError: 500, ValueError: 400}  # of errors: the first that fits
CODES = {401: "invalid_api_key", 404: "model_not_found"}
PARTS = (
    "A message has up to 16 parts, texts and pictures. Pictures are in the request, as data:image/…;base64,…: "
    "nothing is fetched from an address."
)


class ChatCompletionRequest(BaseModel, extra="forbid"):
    model: str
    messages: list[dict] = Field(max_length=1000)
    max_tokens: int = Field(256, ge=1, le=2048, validation_alias=AliasChoices("max_completion_tokens", "max_tokens"))
    temperature: float = Field(0, ge=0, le=2)  # 0: the most likely token every time
    top_p: float = Field(1, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=2**63)
    stop: str | list[str] = ()
    stream: bool = False
    stream_options: dict = {}

    def options(self) -> dict:
        """For a session's `stream`."""
        options = {"max_new_tokens": self.max_tokens, "stop": self.stop, "do_sample": bool(self.temperature)}
        if self.temperature:
            options |= {"temperature": self.temperature, "top_k": 50, "top_p": self.top_p, "seed": self.seed}
        return options


def make_api(session, name: str, key: str) -> FastAPI:
    """To be mounted at /v1. session: a RemoteSession. name: of its model. key: "" lets everybody in."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    threads = ThreadPoolExecutor(MAX_THREADS, "answer")

    async def let_in(request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if key and not hmac.compare_digest(given.encode("latin-1"), key.encode()):
            raise HTTPException(401, "This server wants its key: Authorization: Bearer …")

    async def body(request: Request) -> ChatCompletionRequest:
        if "transfer-encoding" in request.headers or int(request.headers.get("content-length", 0)) > MAX_BODY_BYTES:
            raise HTTPException(413, f"A request can have {MAX_BODY_BYTES >> 20} MB, and has to say how many it has.")
        return ChatCompletionRequest.model_validate_json(await request.body())

    for kind in (HTTPException, *STATUSES):
        app.add_exception_handler(kind, _refuse)

    @app.get("/models", dependencies=[Depends(let_in)])
    async def models() -> dict:
        return {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "local"}]}

    @app.post("/chat/completions", dependencies=[Depends(let_in)])
    async def complete(request: Request, asked: Annotated[ChatCompletionRequest, Depends(body)]):
        if asked.model != name:
            raise HTTPException(404, f"There is no model {asked.model!r} here, only {name!r}.")
        answer = session.stream([_message(**message) for message in asked.messages], **asked.options())
        pieces = _pieces(answer, threads)
        text = await anext(pieces, "")  # so that what is wrong has a status of its own
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": name}
        if asked.stream:
            return StreamingResponse(_chunks(asked, head, answer, text, pieces), media_type="text/event-stream")
        async for piece in pieces:
            text += piece
            if await request.is_disconnected():
                answer.stop()
        reason, usage = _ending(answer)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
        return head | {"object": "chat.completion", "choices": [choice], "usage": usage}

    return app


def _message(role=None, content=None, **_) -> dict:
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list) or len(parts) > 16:
        raise HTTPException(400, PARTS)
    return {"role": "system" if role == "developer" else role, "content": [_part(part) for part in parts]}


def _part(part) -> dict:
    """Only what is listed here: a session would open the files that a message names."""
    match part:
        case {"type": "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "image_url", "image_url": {"url": str(url)}} if url.startswith("data:image/"):
            try:
                return {"type": "image", "image": base64.b64decode(url.partition(";base64,")[2], validate=True)}
            except binascii.Error as error:
                raise HTTPException(400, "This picture is not valid base64.") from error
    raise HTTPException(400, PARTS)


async def _pieces(answer: Answer, threads: ThreadPoolExecutor) -> AsyncIterator[str]:
    """Pieces as they come, each awaited in a thread."""
    try:
        loop = asyncio.get_running_loop()
        while (piece := await loop.run_in_executor(threads, next, answer, None)) is not None:
            yield piece
    finally:  # also where the client has gone
        answer.stop()


async def _chunks(asked: ChatCompletionRequest, head: dict, answer: Answer, first: str, pieces) -> AsyncIterator[str]:
    def event(delta: dict, reason: str | None = None, **others) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return f"data: {json.dumps(head | {'object': 'chat.completion.chunk', 'choices': [choice]} | others)}\n\n"

    try:
        yield event({"role": "assistant", "content": first})
        async for piece in pieces:
            yield event({"content": piece})
        reason, usage = _ending(answer)
        yield event({}, reason)
        if asked.stream_options.get("include_usage"):
            yield event({}, choices=[], usage=usage)
        yield "data: [DONE]\n\n"
    except tuple(STATUSES) as error:
        yield f"data: {_refuse(None, error).body.decode()}\n\n"


def _ending(answer: Answer) -> tuple[str, dict]:
    """Why it ended, and the usage."""
    stats = answer.stats
    usage = {
        "prompt_tokens": stats.prompt_tokens,
        "completion_tokens": stats.answer_tokens,
        "total_tokens": stats.prompt_tokens + stats.answer_tokens,
        "prompt_tokens_details": {"cached_tokens": stats.cached_tokens},
    }
    return "stop" if stats.finished else "length", usage


def _refuse(_: Request | None, error: Exception) -> JSONResponse:
    """OpenAI's error object, with its HTTP status."""
    message = getattr(error, "detail", str(error))
    param = None
    if isinstance(error, ValidationError):
        wrong = error.errors()[0]
        param = ".".join(map(str, wrong["loc"]))
        message = f"{param}: {wrong['msg']}"
    status = _status_of(error)
    described = {"message": message, "type": _type_of(status), "param": param, "code": CODES.get(status)}
    return JSONResponse({"error": described}, status)


def _status_of(error: Exception) -> int:
    if isinstance(error, HTTPException):
        return error.status_code
    return next(status for kind, status in STATUSES.items() if isinstance(error, kind))


def _type_of(status: int) -> str:
    """OpenAI's name for errors of this HTTP status."""
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 429 else "server_error"
