"""A `gr.Blocks` that a stranger may meet: what it is asked is looked at before Gradio does anything with it.

Here: what we put around and into Gradio's server, and when. Not here: who may ask (`adapters.request_guard`),
what a component may get (`adapters.client_values`), who waits how long (`adapters.fair_queue`), whose conversation is
kept (`adapters.tab_states`).

Behaviours of Gradio 6.31 that its documentation does not promise: `Blocks.preprocess_data` gets what a client sent,
before anything in it is fetched or converted; `launch` asks its own server whether it has started, through the
proxy of the environment; what `app_kwargs` names as "lifespan" is entered before the first request, when the layers
that Gradio has added are there, so that ours gets around all of them; uvicorn's server is an attribute of the page, set
once it runs.

Noticed by tests/security/ and tests/test_gradio_helper.py.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import gradio as gr

from adapters import page_routes, upload_parser
from adapters.client_values import checked
from adapters.connections import bounded
from adapters.fair_queue import FairQueue
from adapters.loopback import LOOPBACK, reached_directly
from adapters.open_streams import OpenStreams
from adapters.request_guard import HOSTS_VARIABLE, RequestGuard, TrustedNames
from adapters.tab_states import TabStates

FILES_IN_UPLOAD = 8  # of the largest size that a file may have, in one request
NO_MAX_FILE_BYTES = 2 << 30  # where `launch` is told of none


class GuardedBlocks(gr.Blocks):
    """A page behind a RequestGuard, whose handlers get only values that a page of ours could have sent."""

    def __init__(self, *args, **settings):
        self._streams = OpenStreams()  # before Gradio makes its first queue
        self._server = None
        super().__init__(*args, **settings)

    def queue(self, *args, **settings):
        """As gr.Blocks.queue, but the queue is fair."""
        super().queue(*args, **settings)
        self._queue = FairQueue(self._streams, self._queue)
        return self

    def launch(self, *args, **settings):
        """As gr.Blocks.launch; server_name has to be among the settings."""
        root_path = settings.get("root_path") or os.environ.get("GRADIO_ROOT_PATH", "")
        named = root_path if "://" in root_path else ""
        names = TrustedNames(f"{os.environ.get(HOSTS_VARIABLE, '')} {_origin_of(named)}")
        has_password = bool(settings.get("auth") or settings.get("auth_dependency"))
        check_host = settings["server_name"] in LOOPBACK and not has_password

        prefix = urlsplit(root_path).path.rstrip("/")

        @contextlib.asynccontextmanager
        async def guarded(app) -> AsyncIterator[None]:
            app.state_holder = TabStates(self._streams)
            app.state_holder.set_blocks(self)
            app.middleware_stack = RequestGuard(
                self._streams(page_routes.telling_each_its_own(app.middleware_stack), self._queue.knows), names,
                check_host=check_host, is_used=lambda path: page_routes.is_used(path.removeprefix(prefix)),
                max_upload_bytes=FILES_IN_UPLOAD * (self.max_file_size or NO_MAX_FILE_BYTES),
            )  # fmt: skip
            yield

        app_kwargs = {**(settings.pop("app_kwargs", None) or {}), "lifespan": guarded}
        upload_parser.use()
        with reached_directly():
            return super().launch(*args, **settings, app_kwargs=app_kwargs)

    @property
    def server(self):
        """uvicorn's, None before there is one."""
        return self._server

    @server.setter
    def server(self, server) -> None:
        """uvicorn asks its settings for a protocol at each connection."""
        if server is not None:
            server.config.http_protocol_class = bounded(server.config.http_protocol_class)
        self._server = server

    async def preprocess_data(self, block_fn, inputs, state, explicit_call=False):
        self.validate_inputs(block_fn, inputs)
        inputs = [checked(*given) for given in zip(block_fn.inputs, inputs, strict=False)]
        return await super().preprocess_data(block_fn, inputs, state, explicit_call)


def _origin_of(url: str) -> str:
    """The part of `url` before its path: "https://hub.example.org/user/me" -> "https://hub.example.org"."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}" if rest else ""
