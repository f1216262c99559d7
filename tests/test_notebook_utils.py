"""`notebook_utils`: the names that it promises. What they do is tested where they live."""

import subprocess
import sys
from pathlib import Path

import notebook_utils

ROOT = Path(__file__).resolve().parent.parent


def test_importing_the_helpers_loads_nothing_heavy():
    heavy = ("torch", "transformers", "openvino", "optimum", "gradio", "requests", "ipywidgets", "IPython")
    code = f"import cmd_helper, notebook_utils, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_promised_name_is_there():
    assert all(hasattr(notebook_utils, name) for name in notebook_utils.__all__)
