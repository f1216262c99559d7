"""Engines by name, for `speed` and `growth`: the options that choose them, and opening one in a child process.

Not here: the engines (`engines/`), what they are asked (`scenario`, `growth`).
"""

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path

from benchmarks.options import UsageError

ENGINES = {  # modules and classes of benchmarks/engines/, imported in the child only
    "generate": ("generate", "Engine"),
    "session": ("session", "Engine"),
    "genai-pa": ("genai", "PagedAttention"),
    "genai-sdpa": ("genai", "Stateful"),
    "llama-cpp": ("llama_cpp", "Engine"),
    "pytorch": ("pytorch", "Engine"),
}
OPTIONAL = ("genai-pa", "genai-sdpa", "llama-cpp")  # need requirements-bench.txt, and may not open every folder
OWN_WEIGHTS = {"pytorch": "weights", "llama-cpp": "gguf"}  # engines that do not run the exported model: their option


def add_engines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engines", type=lambda text: text.split(","), default=["generate", "session"],
                        metavar="A,B", help=f"of {', '.join(ENGINES)}; default: generate,session")  # fmt: skip
    parser.add_argument("--weights", type=Path, metavar="DIR", help="original weights, for pytorch")
    parser.add_argument("--gguf", type=Path, metavar="DIR", help="what the command gguf-model wrote, for llama-cpp")
    parser.add_argument("--ov-config", type=setting, nargs="+", default=[], metavar="KEY=VALUE",
                        help="OpenVINO's, for all its engines: DYNAMIC_QUANTIZATION_GROUP_SIZE=128")  # fmt: skip


def setting(text: str) -> tuple[str, str]:
    """The type of `--ov-config`."""
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def check_engines(options: argparse.Namespace) -> None:
    """Raises UsageError."""
    if unknown := [name for name in options.engines if name not in ENGINES]:
        raise UsageError(f"there is no engine {unknown[0]!r}; there are {', '.join(ENGINES)}.")
    for name, option in OWN_WEIGHTS.items():
        if name in options.engines and not getattr(options, option):
            raise UsageError(f"the engine {name} needs --{option} DIR, the folder of its weights.")


def engine_arguments(options: argparse.Namespace) -> list:
    """The same options for a child."""
    weights = ["--weights", options.weights] if options.weights else []
    gguf = ["--gguf", options.gguf] if options.gguf else []
    settings = ["--ov-config", *(f"{key}={value}" for key, value in options.ov_config)] if options.ov_config else []
    return [*weights, *gguf, *settings]


# ---- in the child ----------------------------------------------------------------------------------------------------


def opener(options: argparse.Namespace, name: str) -> Callable:
    """What opens the engine `name`; calling it is what loading takes, without imports."""
    module, kind = ENGINES[name]
    load = getattr(importlib.import_module(f"benchmarks.engines.{module}"), kind)
    weights = getattr(options, OWN_WEIGHTS[name]) if name in OWN_WEIGHTS else None
    return lambda: load(options.model_dir, weights, dict(options.ov_config) or None)


def or_why_not(name: str, measure: Callable[[], dict]) -> dict:
    """Of what we do not maintain, any error is a result; ours are bugs, and end with a traceback."""
    if name not in OPTIONAL:
        return measure()
    try:
        return measure()
    except ImportError as error:
        return {"reason": f"{error}; install it with `pip install -r requirements-bench.txt`"}
    except Exception as error:
        return {"reason": f"{type(error).__name__}: " + " ".join(str(error).split())[:300]}
