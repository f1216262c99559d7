"""Page and API under one address, answered by replicas: `python -m serving.front --model MODEL --replicas 2`.

Here: from words typed in a terminal to what is served, and who is let in. Not here: the page (`gradio_helper`), the
API (`serving.api`), replicas (`serving.replica`). `build` is what serve.yaml starts on a cluster; `--address` then
serves page and API for it from any machine that can reach it.
"""

import argparse
import hmac
import os
import sys
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
APP = "chat"
KEY_VARIABLE = "SERVE_KEY"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PRECISIONS = ("INT4", "INT8", "FP16", "FP32")
MOUNTED = ("max_file_size", "allowed_paths", "footer_links", "run_history", "theme", "css", "js")
ASK_KEY = "Any user name; the password is the key that this server was started with."
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/"}  # nobody listens there
RAY_HOME = ROOT / "build" / "ray-home"
STORE_BYTES = 512 << 20  # of Ray's object store: the files of a few questions on their way


class FrontError(ValueError):
    """Words typed in a terminal that cannot be served; the message says what to type instead."""


def build(args: dict):
    """The Ray Serve application: {"model": as for --model, "replicas": int, "threads": int, for each replica}.

    A `replicas` of 0 leaves their number to what serve.yaml says of the deployment.
    """
    from ray import serve

    from serving.replica import DEPLOYMENT, Replica

    threads = int(args.get("threads", 1))
    options = DEPLOYMENT | {"ray_actor_options": {"num_cpus": threads}}
    if args.get("replicas"):
        options["num_replicas"] = int(args["replicas"])
    return serve.deployment(Replica).options(name="Replica", **options).bind(exported(args.get("model")), threads)


def exported(typed: str | None) -> str:
    """The folder of the OpenVINO model for what was typed, exported if need be, before replicas start."""
    from tasks.demo import find, on_disk

    return str(on_disk(*find(typed)).resolve())


def main(argv=None) -> int:
    from cmd_helper import ExportError
    from notebook_utils import HubError, ModelFolderError, VersionError, check_versions

    args = parse(argv)
    try:
        check_versions()
        serve_all(args, required_key(args.host))
    except (ExportError, FrontError, HubError, ModelFolderError, OSError, VersionError) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("serve: interrupted", file=sys.stderr)
    return 0


def parse(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The chat page and an OpenAI-compatible API over several replicas.")
    parser.add_argument("--model", help="as for tasks/demo.py (default: the practice model)")
    parser.add_argument("--replicas", type=int, default=2, help="copies of the model (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="for each replica (default: this machine's cores, shared out)")
    parser.add_argument("--host", default="127.0.0.1", help=f"anything else needs a key in {KEY_VARIABLE}")
    parser.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    parser.add_argument("--address", help="of a Ray cluster on which serve.yaml runs; its replicas are used then")
    return parser.parse_args(argv)


def required_key(host: str) -> str:
    """From the environment; "" where none is needed. Raises FrontError where one is missing."""
    key = os.environ.get(KEY_VARIABLE, "")
    if not key and host not in LOOPBACK:
        raise FrontError(f"{host} lets other machines in: set {KEY_VARIABLE} to a key of your own, then try again")
    return key


def serve_all(args: argparse.Namespace, key: str) -> None:
    import ray
    import uvicorn
    from ray import serve

    handle = connect(args)
    try:
        uvicorn.run(web(handle, args, key), host=args.host, port=args.port, log_level="warning")
    finally:
        if not args.address:
            serve.shutdown()
        ray.shutdown()


def connect(args: argparse.Namespace):
    """The handle of the replicas: those of the cluster at `--address`, or started here."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))  # of replicas
    import ray
    from ray import serve

    if args.address:
        quiet()
        ray.init(args.address, logging_level="warning", log_to_driver=False)
        return serve.get_app_handle(APP)
    threads = args.threads or max(1, (os.cpu_count() or 1) // args.replicas)
    settings = {"num_cpus": threads * args.replicas, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    application = build({"model": args.model, "replicas": args.replicas, "threads": threads})
    quiet()
    # Ray's own ports have no password and listen on every address all the same: RAY_AUTH_MODE=token is to be tried.
    ray.init(**settings, logging_level="warning", log_to_driver=False, _node_ip_address="127.0.0.1")
    serve.start(proxy_location="Disabled")
    return serve.run(application, name=APP, route_prefix=None)


def quiet() -> None:
    """Set the environment of Ray's processes so that they reach for nobody.

    Switched off, its statistics (2.60) still look which cloud this is, at 169.254.169.254 and by name, unless the home
    folder has a file that tells; and report that they are off, unless it was `ray.init` that started the cluster.
    """
    RAY_HOME.mkdir(parents=True, exist_ok=True)
    (RAY_HOME / "ray_bootstrap_config.yaml").write_text("{}\n")
    os.environ |= QUIET | {"HOME": str(RAY_HOME)}


def web(handle, args: argparse.Namespace, key: str):
    """The ASGI application: page and API, both behind `key` where there is one."""
    import gradio as gr
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from transformers import AutoConfig

    from chat_page.look import LAUNCH
    from gradio_helper import make_demo
    from serving.api import api
    from serving.remote import RemoteSession
    from serving.replica import AT_ONCE
    from tasks.demo import load_processor

    folder = Path(exported(args.model))
    config = AutoConfig.from_pretrained(folder)
    session = RemoteSession(handle, load_processor(folder, config), at_once=AT_ONCE * args.replicas)
    model = SimpleNamespace(config=config, model_save_dir=folder, _device=f"{args.replicas} replicas")
    page = make_demo(model, session.processor, session=session)
    app = api(session, folder.parent.name if folder.name.upper() in PRECISIONS else folder.name, key)
    if args.host in LOOPBACK:  # a web site could make its visitor's browser ask for its own name at this address
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    page.state_session_capacity = LAUNCH["state_session_capacity"]
    look = {name: LAUNCH[name] for name in MOUNTED}
    is_key = (lambda _, password: hmac.compare_digest(password.encode(), key.encode())) if key else None
    return gr.mount_gradio_app(app, page, "/", auth=is_key, auth_message=ASK_KEY if key else None, **look)


if __name__ == "__main__":
    sys.exit(main())
