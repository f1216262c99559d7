"""/v1/chat/completions and /v1/models, as OpenAI's clients speak them, over a ChatSession or a RemoteSession.

    add_api(page, session, "practice-model")  # a page that is launched answers at /v1, too

Here: who is let in, answers as completions and chunks, errors as OpenAI's error objects. Not here: what a request says
(`serving.request`), Host, Origin and CORS (`adapters.request_guard`), answering (`chat_session`, `serving.remote`).
"""

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.routing import Mount

from adapters.open_streams import visitor_address
from chat_session import MediaError, SessionError, Stats
from serving.errors import BusyError, LostError, RequestError
from serving.request import ChatCompletionRequest, parse

MAX_BODY_BYTES = 96 << 20
MAX_THREADS = 256  # for answers under way and those that wait
MAX_OF_ONE_VISITOR = 32  # of these, so that nobody takes all
POLL_S = 0.25  # between two looks whether the client is still there
WRONG_KEY_S = 0.5  # that a wrong key waits for its refusal, one after the other for each address
MAX_WRONG_KEYS = 20  # of one address that wait at once
# The first that fits says the HTTP status; whatever is none of these is our own fault, and not explained.
STATUSES = {BusyError: 429, LostError: 503, SessionError: 400, MediaError: 400}
CODES = {401: "invalid_api_key", 404: "model_not_found"}
FAILED = "The model failed. Its owner finds the reason in the server's log."


def add_api(page, session, name: str, key: str = "") -> None:
    """Answers at /v1 of `page`, a launched gr.Blocks: before the page's own routes, behind its guard."""
    page.app.router.routes.insert(0, Mount("/v1", make_api(session, name, key)))


def make_api(session, name: str, key: str = "") -> FastAPI:
    """To be mounted at /v1. session: a ChatSession or a RemoteSession. name: of its model, for clients. key: "" lets
    everybody in.
    """
    app = FastAPI(title="Chat completions", docs_url=None, redoc_url=None)
    gate, threads, under_way = Gate(key), ThreadPoolExecutor(MAX_THREADS, "api answer"), Counter()
    model = {"id": name, "object": "model", "created": 0, "owned_by": "local"}
    for kind in (HTTPException, RequestError, SessionError, MediaError, Exception):
        app.add_exception_handler(kind, _refuse)

    @app.get("/models", dependencies=[Depends(gate.let_in)])
    async def models() -> dict:
        return {"object": "list", "data": [model]}

    @app.get("/models/{asked:path}", dependencies=[Depends(gate.let_in)])
    async def one_model(asked: str) -> dict:
        return model if asked == name else _no_such_model(asked, name)

    @app.post("/chat/completions", dependencies=[Depends(gate.let_in)], openapi_extra=_request_schema(name))
    async def complete(request: Request):
        asked, messages = await asyncio.to_thread(_parsed, await _body(request))
        if asked.model != name:
            _no_such_model(asked.model, name)
        address = visitor_address(request.client)
        if under_way[address] >= MAX_OF_ONE_VISITOR:
            raise BusyError(f"{MAX_OF_ONE_VISITOR} requests of yours are under way: wait for one of them to end.")
        answer = session.stream(messages, visitor=_visitor(address, asked.user), **asked.options())
        under_way[address] += 1
        events = _events(request, answer, threads, lambda: under_way.subtract([address]))
        reply = Reply(asked, name, answer.stats)
        text = await anext(events, "")  # so that what is wrong has a status of its own
        if asked.stream:
            return StreamingResponse(reply.chunks(text, events), media_type="text/event-stream")
        return reply.whole("".join([text, *[piece async for piece in events]]))

    return app


class Gate:
    """Lets in who has the key; a wrong one waits, and others from its address wait behind it."""

    def __init__(self, key: str):
        self._key = key.encode()
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: Counter[str] = Counter()

    async def let_in(self, request: Request) -> None:
        if not self._key:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), self._key):
            return
        await self._wait(visitor_address(request.client))
        message = "This server wants its key: Authorization: Bearer …"
        raise HTTPException(401, message, headers={"WWW-Authenticate": "Bearer"})

    async def _wait(self, address: str) -> None:
        """Raises HTTPException where many wait already: each takes memory, also when its client has gone."""
        if self._waiting[address] >= MAX_WRONG_KEYS:
            raise HTTPException(429, "Too many wrong keys came from this address. Please wait a few seconds.")
        self._waiting[address] += 1
        try:
            async with self._locks.setdefault(address, asyncio.Lock()):
                await asyncio.sleep(WRONG_KEY_S)
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address], self._locks[address]


class Reply:
    """An answer as OpenAI writes it down."""

    def __init__(self, asked: ChatCompletionRequest, model: str, stats: Stats):
        self._asked = asked
        self._stats = stats
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def whole(self, text: str) -> dict:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._reason()}
        return self._head | {"object": "chat.completion", "choices": [choice], "usage": self._usage()}

    async def chunks(self, first: str, pieces: AsyncIterator[str]) -> AsyncIterator[str]:
        """Server-sent events. An error after the first piece is one of them, and then nothing follows."""
        try:
            yield self._chunk({"role": "assistant", "content": first, "refusal": None})
            async for piece in pieces:
                yield self._chunk({"content": piece})
        except Exception as error:
            yield f"data: {_refuse(None, error).body.decode()}\n\n"
            return
        yield self._chunk({}, self._reason())
        if self._asked.includes_usage:
            yield self._event(choices=[], usage=self._usage())
        yield "data: [DONE]\n\n"

    def _chunk(self, delta: dict, reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        no_usage = {"usage": None} if self._asked.includes_usage else {}
        return self._event(choices=[choice], **no_usage)

    def _event(self, **fields) -> str:
        return f"data: {json.dumps(self._head | {'object': 'chat.completion.chunk'} | fields)}\n\n"

    def _reason(self) -> str:
        return "stop" if self._stats.finished else "length"

    def _usage(self) -> dict:
        stats = self._stats
        return {
            "prompt_tokens": stats.prompt_tokens,
            "completion_tokens": stats.answer_tokens,
            "total_tokens": stats.prompt_tokens + stats.answer_tokens,
            "prompt_tokens_details": {"cached_tokens": stats.cached_tokens},
        }


def _request_schema(name: str) -> dict:
    """What FastAPI tells of the body, which is read and parsed by hand."""
    schema = ChatCompletionRequest.model_json_schema()
    schema["properties"]["model"] = {"enum": [name]}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def _body(request: Request) -> bytes:
    """All of it, chunked or not, up to MAX_BODY_BYTES."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"A request can have {MAX_BODY_BYTES >> 20} MB.")
    return bytes(body)


def _parsed(body: bytes) -> tuple[ChatCompletionRequest, list[dict]]:
    """In a thread: megabytes of base64 would hold up everybody's streams."""
    asked = parse(body)
    return asked, asked.conversation()


def _visitor(address: str, user: str) -> str:
    """Who shares what is cached, and nobody else: the same address and the same `user`. All of an address share their
    time: `user` is what a client says of itself.
    """
    return f"{address}/api {hashlib.blake2b(user.encode(), digest_size=12).hexdigest()}"


async def _events(request: Request, answer, threads: ThreadPoolExecutor, ended) -> AsyncIterator[str]:
    """Pieces as they come, from a thread of the answer's own. A client that leaves stops it, also while it waits."""
    loop = asyncio.get_running_loop()
    events: asyncio.Queue = asyncio.Queue()
    threads.submit(answer.pump, partial(loop.call_soon_threadsafe, events.put_nowait))
    watch = loop.create_task(_stop_when_gone(request, answer))
    try:
        while not isinstance(event := await events.get(), Stats):
            if isinstance(event, BaseException):
                raise event
            yield event
    finally:
        watch.cancel()
        answer.stop()
        ended()


async def _stop_when_gone(request: Request, answer) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(POLL_S)
    answer.stop()


def _no_such_model(asked: str, name: str):
    raise HTTPException(404, f"There is no model {asked[:100]!r} here, only {name!r}.")


def _refuse(_: Request | None, error: Exception) -> JSONResponse:
    """OpenAI's error object, with its HTTP status; of our own faults nothing but that they are."""
    status = _status_of(error)
    message = FAILED if status == 500 else str(getattr(error, "detail", error))
    code = CODES.get(status) if status != 404 or "There is no model" in message else None
    described = {
        "message": message,
        "type": _type_of(status),
        "param": getattr(error, "param", "") or None,
        "code": code,
    }
    return JSONResponse({"error": described}, status, headers=getattr(error, "headers", None))


def _status_of(error: Exception) -> int:
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, RequestError):
        return error.status
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 500)


def _type_of(status: int) -> str:
    """OpenAI's name for errors of this HTTP status."""
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"
