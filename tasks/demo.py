"""The chat page without Jupyter.

    .venv/bin/python tasks/demo.py --model Qwen/Qwen2-VL-2B-Instruct --device GPU --port 7861

Lives here: from words typed in a terminal to a page that is served, and errors in one line.
Does not: the page (gradio_helper.py), the export (cmd_helper.py), what a model costs or whether a folder is whole
(notebook_utils.py).
"""

import argparse
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SET_UP = "the packages are not installed in this Python: run `make demo`, or `python3 tasks/bootstrap.py` first"
VISUAL_TOKEN = 28 * 28  # pixels
BUDGET = {"min_pixels": 256 * VISUAL_TOKEN, "max_pixels": 1280 * VISUAL_TOKEN}  # of one picture, as in the notebook


def main(argv=None) -> int:
    """Command line; serves until Ctrl-C and returns the exit status."""
    args = parse(argv)
    sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, the helpers lie one above
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
    from notebook_utils import check_versions, require_device, self_check

    check_versions()
    device = require_device(args.device)  # before an export that may take an hour
    model, processor = load(*find(args.model), device)

    from chat_session import ChatSession
    from gradio_helper import make_demo

    session = ChatSession(model, processor)
    print(self_check(model, processor), flush=True)
    threading.Thread(target=session.warm_up, daemon=True).start()  # gives way to the first question
    make_demo(model, processor, session=session).launch(server_name=args.host, server_port=args.port)


def find(typed: str | None) -> tuple[str, str]:
    """(what to export, what to load) for what was typed: None for the practice model, a hub name, a folder.

    The two are equal for a model that is known to be OpenVINO's already. Raises ModelFolderError for anything else.
    """
    from catalog.choices import HUB_ID, hub_export_dir
    from notebook_utils import model_choices

    choices = model_choices()
    known = {None: choices[0], **{choice.source: choice for choice in choices}}
    if typed not in known and HUB_ID.fullmatch(typed) and not Path(typed).is_dir():
        return typed, hub_export_dir(typed)  # the hub is asked only if there is no export yet
    choice = known[typed] if typed in known else model_choices(typed)[-1]
    return choice.source, choice.load_from


def on_disk(source: str, load_from: str) -> Path:
    """The folder of an OpenVINO model: `load_from`, which is exported from `source` if it is not there yet.

    A name on the hub is downloaded first, and taken as it is if it is OpenVINO's already.
    """
    from catalog.model_folder import is_exported
    from cmd_helper import optimum_cli
    from notebook_utils import PRESETS, fetch_model, require_model_dir

    if Path(load_from).is_dir():
        return require_model_dir(load_from)
    folder = fetch_model(source)
    if is_exported(folder):
        return folder
    optimum_cli(folder, load_from, additional_args=PRESETS["balanced"].options)
    return require_model_dir(load_from)


def load(source: str, load_from: str, device: str):
    """The model at `load_from`, exported from `source` if it is not there yet, and its processor."""
    from notebook_utils import turn_off_library_telemetry

    folder = on_disk(source, load_from)
    print(f"Loading {folder} on {device}", flush=True)
    turn_off_library_telemetry()
    from optimum.intel.openvino import OVModelForVisualCausalLM

    model = OVModelForVisualCausalLM.from_pretrained(folder, device=device, compile=False)  # a session does
    return model, load_processor(folder, model.config)


def load_processor(folder: str | Path, config):
    """The processor of the model in `folder`, with our limits for a picture."""
    from transformers import AutoProcessor

    # The practice model knows pictures of up to 400 visual tokens, and its own settings say so.
    budget = {} if getattr(config, "practice_model", False) else BUDGET
    return AutoProcessor.from_pretrained(folder, **budget)


if __name__ == "__main__":
    sys.exit(main())
