"""Page and API under one address, answered by replicas: `python -m serving.front --model MODEL --replicas 2`.

Here: from words typed in a terminal to what is served, who is let in. Not here: the page (`gradio_helper`), the API
(`serving.openai_api`), replicas (`serving.replica`), Ray's environment (`adapters.ray_serve`).
"""

import argparse
import hmac
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

from adapters import ray_serve

ROOT = Path(__file__).resolve().parent.parent
KEY_VARIABLE = "SERVE_KEY"
GRADIO_THREADS = 40  # its own default, for all that is no answer
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ASK_KEY = "Any user name; the password is the key that this server was started with."


def build(args: dict):
    """The Ray Serve application: {"model": a folder, "threads": of each replica, "replicas": how many, if not as
    serve.yaml says}.
    """
    from ray import serve

    from notebook_utils import require_model_dir
    from serving.replica import DEPLOYMENT, Replica

    folder, threads = str(require_model_dir(ROOT / args["model"])), args["threads"]
    replicas = {"num_replicas": args["replicas"]} if "replicas" in args else {}
    options = DEPLOYMENT | replicas | {"ray_actor_options": {"num_cpus": threads}}
    return serve.deployment(Replica).options(**options).bind(folder, threads)


def main(argv=None) -> int:
    from cmd_helper import ExportError, export_if_needed
    from notebook_utils import HubError, ModelFolderError, VersionError, check_versions

    args, key = parse(argv), os.environ.get(KEY_VARIABLE, "")
    try:
        if not key and args.host not in LOOPBACK:
            raise OSError(f"{args.host} lets other machines in: set {KEY_VARIABLE} to a key of your own first")
        check_versions()
        serve_all(args, export_if_needed(args.model).resolve(), key)
    except (ExportError, HubError, ModelFolderError, OSError, VersionError) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1
    return 0


def parse(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The chat page and an OpenAI-compatible API over several replicas.")
    parser.add_argument("--model", help="as for `make demo` (default: the practice model)")
    parser.add_argument("--replicas", type=int, default=2, help="copies of the model (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help=f"anything else needs a key in {KEY_VARIABLE}")
    parser.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    parser.add_argument("--address", help="of a Ray cluster on which serve.yaml runs; its replicas are used then")
    args = parser.parse_args(argv)
    if args.replicas < 1:
        parser.error(f"--replicas is {args.replicas}; there must be one at least")
    return args


def serve_all(args: argparse.Namespace, folder: Path, key: str) -> None:
    """Serves until Ctrl-C or SIGTERM, and leaves no process of its own behind."""
    ray_serve.set_environment(ROOT)
    import ray
    from ray import serve

    try:
        page = web(connect(args, folder), args, folder, key)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # Ray's own handler leaves some of its processes behind
        page.block_thread()
    finally:
        if not args.address:
            serve.shutdown()
        ray.shutdown()


def connect(args: argparse.Namespace, folder: Path):
    """The handle of the replicas: those of the cluster at `--address`, or started here."""
    import ray
    from ray import serve

    if args.address:
        ray.init(args.address, logging_level="warning", log_to_driver=False)
        return serve.get_app_handle("chat")
    threads = max(1, (os.cpu_count() or 1) // args.replicas)
    ray_serve.start_cluster(threads * args.replicas)
    application = build({"model": folder, "replicas": args.replicas, "threads": threads})
    return serve.run(application, name="chat", route_prefix=None)


def web(handle, args: argparse.Namespace, folder: Path, key: str):
    """The page, listening, with the API at /v1; both behind `key` where there is one."""
    from transformers import AutoConfig

    from catalog.open import load_processor
    from gradio_helper import make_demo
    from serving.api import model_name
    from serving.openai_api import add_api
    from serving.remote import RemoteSession
    from serving.replica import MAX_ONGOING_REQUESTS

    config = AutoConfig.from_pretrained(folder)
    at_once = MAX_ONGOING_REQUESTS * args.replicas
    session = RemoteSession(handle, load_processor(folder, config), max_concurrent_answers=at_once)
    # What the page's header says of a model, by the names that optimum-intel has for it (`adapters.optimum_intel`).
    model = SimpleNamespace(config=config, model_save_dir=folder, _device=f"{args.replicas} replicas")
    page = make_demo(model, session.processor, session=session)

    def is_let_in(user: str, password: str) -> bool:
        return hmac.compare_digest(password.encode(), key.encode())

    page.launch(
        server_name=args.host, server_port=args.port, auth=is_let_in if key else None, auth_message=ASK_KEY,
        prevent_thread_lock=True, max_threads=at_once + GRADIO_THREADS,
    )  # fmt: skip
    add_api(page, session, model_name(args.model), key)
    return page


if __name__ == "__main__":
    sys.exit(main())
