"""Page and API under one address, answered by replicas: `python -m serving.front --model MODEL --replicas 2`.

Here: from words typed in a terminal to what is served, Ray's environment, who is let in. Not here: the page
(`gradio_helper`), the API (`serving.api`), replicas (`serving.replica`).
"""

import argparse
import hmac
import os
import secrets
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
KEY_VARIABLE, LOOPBACK = "SERVE_KEY", ("127.0.0.1", "localhost", "::1")
ASK_KEY = "Any user name; the password is the key that this server was started with."
RAY_HOME = ROOT / "build" / "ray-home"
RAY = {
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/", "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",  # replicas are as important as the page
    "RAY_SERVE_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "1",  # who computes may take a moment to say how busy it is
}  # fmt: skip


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
    from cmd_helper import ExportError
    from notebook_utils import HubError, ModelFolderError, VersionError, check_versions
    from tasks.demo import find, on_disk

    args, key = parse(argv), os.environ.get(KEY_VARIABLE, "")
    try:
        if not key and args.host not in LOOPBACK:
            raise OSError(f"{args.host} lets other machines in: set {KEY_VARIABLE} to a key of your own first")
        check_versions()
        folder = on_disk(*find(args.model)).resolve()
        serve_all(args, folder, key)
    except (ExportError, HubError, ModelFolderError, OSError, VersionError) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1
    return 0


def parse(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The chat page and an OpenAI-compatible API over several replicas.")
    parser.add_argument("--model", help="as for tasks/demo.py (default: the practice model)")
    parser.add_argument("--replicas", type=int, default=2, help="copies of the model (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help=f"anything else needs a key in {KEY_VARIABLE}")
    parser.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    parser.add_argument("--address", help="of a Ray cluster on which serve.yaml runs; its replicas are used then")
    return parser.parse_args(argv)


def set_environment() -> None:
    """The environment of Ray's processes and of this one, before Ray is imported: they reach for nobody, and nobody
    reaches them who does not know a token.

    Switched off, its statistics (2.60) still look which cloud this is, at 169.254.169.254 and by name, unless the home
    folder has a file that tells; and report that they are off, unless it was `ray.init` that started the cluster.
    """
    RAY_HOME.mkdir(parents=True, exist_ok=True)
    (RAY_HOME / "ray_bootstrap_config.yaml").write_text("{}\n")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))  # where replicas import us from
    os.environ |= RAY | {"HOME": str(RAY_HOME), "PYTHONPATH": path}
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def serve_all(args: argparse.Namespace, folder: Path, key: str) -> None:
    set_environment()
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
    ray.init(num_cpus=threads * args.replicas, object_store_memory=512 << 20, include_dashboard=False,
             logging_level="warning", log_to_driver=False, _node_ip_address="127.0.0.1")  # fmt: skip
    serve.start(proxy_location="Disabled")
    application = build({"model": folder, "replicas": args.replicas, "threads": threads})
    return serve.run(application, name="chat", route_prefix=None)


def web(handle, args: argparse.Namespace, folder: Path, key: str):
    """The page, listening, with the API at /v1; both behind `key` where there is one."""
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.routing import Mount
    from transformers import AutoConfig

    from gradio_helper import make_demo
    from serving.api import api
    from serving.remote import RemoteSession
    from serving.replica import AT_ONCE
    from tasks.demo import load_processor

    config = AutoConfig.from_pretrained(folder)
    session = RemoteSession(handle, load_processor(folder, config), max_concurrent_answers=AT_ONCE * args.replicas)
    v1 = api(session, args.model or "practice-model", key)
    if args.host in LOOPBACK:  # a web site could make its visitor's browser ask for its own name at this address
        v1.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    model = SimpleNamespace(config=config, model_save_dir=folder, _device=f"{args.replicas} replicas")
    page = make_demo(model, session.processor, session=session)
    knows = (lambda _, password: hmac.compare_digest(password.encode(), key.encode())) if key else None
    app, *_ = page.launch(server_name=args.host, server_port=args.port, auth=knows, auth_message=ASK_KEY,
                          prevent_thread_lock=True)  # fmt: skip
    app.router.routes.insert(0, Mount("/v1", v1))  # before those of the page
    return page


if __name__ == "__main__":
    sys.exit(main())
