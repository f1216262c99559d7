"""The chat page without Jupyter.

    .venv/bin/python -m tasks.demo --model Qwen/Qwen2-VL-2B-Instruct --device GPU --port 7861

Here: the options, and errors in one line. Not here: the page (gradio_helper.py), the export (cmd_helper.py), what
`--model` may be (catalog/choices.py), loading (catalog/open.py).
"""

import argparse
import sys
import threading

SET_UP = "the packages are not installed in this Python: run `make demo`, or `python3 -m tasks.bootstrap` first"


def main(argv=None) -> int:
    """Command line; serves until Ctrl-C and returns the exit status."""
    args = parse(argv)
    try:
        from cmd_helper import ExportError
        from notebook_utils import DeviceCheckError, DeviceError, HubError, ModelFolderError, VersionError
    except ModuleNotFoundError as error:
        return fail(f"{error}; {SET_UP}")
    try:
        serve(args)
    except (DeviceCheckError, DeviceError, ExportError, HubError, ModelFolderError, VersionError) as error:
        return fail(str(error))
    except OSError as error:  # no free port, a folder that cannot be read
        return fail(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        return fail("interrupted")
    return 0


def parse(argv) -> argparse.Namespace:
    """The four options."""
    parser = argparse.ArgumentParser(description="Chat with a Qwen2-VL model about pictures, in a page in the browser.")
    parser.add_argument(
        "--model",
        help="a name on the Hugging Face hub, or a folder with a model, exported or not (default: the practice model)",
    )
    parser.add_argument("--device", default="AUTO", help="CPU, GPU, AUTO, ... (default: %(default)s)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to serve at; 0.0.0.0 lets other machines in, without a password (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, help="port to serve at (default: the first free one from 7860)")
    return parser.parse_args(argv)


def fail(message: str) -> int:
    """Say on stderr why there is no page; returns the exit status of a failure."""
    print(f"demo: {message}", file=sys.stderr)
    return 1


def serve(args: argparse.Namespace) -> None:
    """Load the model that `args` name, exporting it first if need be, and serve the page until it is stopped."""
    from cmd_helper import export_if_needed
    from notebook_utils import check_versions, open_model, require_device, self_check

    check_versions()
    device = require_device(args.device)  # before an export that may take an hour
    folder = export_if_needed(args.model)
    print(f"Loading {folder} on {device}", flush=True)
    model, processor = open_model(folder, device)

    from adapters.loopback import LOOPBACK
    from chat_session import ChatSession
    from gradio_helper import make_demo
    from serving.api import model_name
    from serving.openai_api import add_api

    session = ChatSession(model, processor, shared_cache=args.host in LOOPBACK)
    print(self_check(model, processor), flush=True)
    threading.Thread(target=session.warm_up, daemon=True).start()  # gives way to the first question
    page = make_demo(model, processor, session=session)
    page.launch(server_name=args.host, server_port=args.port, prevent_thread_lock=True)
    add_api(page, session, model_name(args.model))
    print(f"Programs ask {model_name(args.model)} at {page.local_url}v1", flush=True)
    page.block_thread()


if __name__ == "__main__":
    sys.exit(main())
