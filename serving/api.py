"""The API without a page: `python -m serving.api --model MODEL`.

Here: from words typed in a terminal to a server. Not here: the API (`serving.openai_api`), the page with the same API
(`tasks.demo`), several copies of the model (`serving.front`).
"""

import argparse
import os
import sys

from adapters.connections import bounded
from adapters.loopback import LOOPBACK
from adapters.request_guard import HOSTS_VARIABLE, RequestGuard, TrustedNames
from serving.openai_api import make_api

KEY_VARIABLE = "SERVE_KEY"
MAX_UPLOAD_BYTES = 0  # there is nothing to upload to


def main(argv=None) -> int:
    from cmd_helper import ExportError
    from notebook_utils import DeviceError, HubError, ModelFolderError, VersionError

    args, key = parse(argv), os.environ.get(KEY_VARIABLE, "")
    try:
        if not key and args.host not in LOOPBACK:
            raise OSError(f"{args.host} lets other machines in: set {KEY_VARIABLE} to a key of your own first")
        serve(args, key)
    except (DeviceError, ExportError, HubError, ModelFolderError, OSError, VersionError) as error:
        print(f"api: {error}", file=sys.stderr)
        return 1
    return 0


def parse(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="An OpenAI-compatible API over one model.")
    parser.add_argument("--model", help="as for `make demo` (default: the practice model)")
    parser.add_argument("--device", default="AUTO", help="CPU, GPU, AUTO, ... (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help=f"anything else needs a key in {KEY_VARIABLE}")
    parser.add_argument("--port", type=int, default=8000, help="default: %(default)s")
    return parser.parse_args(argv)


def serve(args: argparse.Namespace, key: str) -> None:
    """Until Ctrl-C."""
    import uvicorn
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    from chat_session import ChatSession
    from cmd_helper import export_if_needed
    from notebook_utils import check_versions, open_model, require_device

    check_versions()
    device = require_device(args.device)
    model, processor = open_model(export_if_needed(args.model), device)
    session = ChatSession(model, processor, shared_cache=args.host in LOOPBACK)
    session.warm_up()
    name = model_name(args.model)
    print(f"{name} answers at http://{args.host}:{args.port}/v1", flush=True)
    app = guarded(make_api(session, name, key), args.host, key)
    uvicorn.run(app, host=args.host, port=args.port, log_level="warning", http=bounded(AutoHTTPProtocol))


def guarded(api, host: str, key: str):
    """`api` at /v1, behind the guard that pages have."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    names = TrustedNames(os.environ.get(HOSTS_VARIABLE, ""))
    app = Starlette(routes=[Mount("/v1", api)])
    return RequestGuard(app, names, check_host=host in LOOPBACK and not key, max_upload_bytes=MAX_UPLOAD_BYTES)


def model_name(typed: str | None) -> str:
    """What clients call the model: its name on the hub, or that of its folder, without the path to it."""
    from catalog.hub import is_hub_id

    if not typed:
        return "practice-model"
    return typed if is_hub_id(typed) and not os.path.isdir(typed) else os.path.basename(os.path.abspath(typed))


if __name__ == "__main__":
    sys.exit(main())
