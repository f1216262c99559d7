"""Which build of torch to install: PyTorch's CPU build, 4 GB instead of 11, where its index can be reached.

    pip install -r requirements.txt {" ".join(cpu_build(text_of_requirements, sys.version_info[:2]))}

Only the standard library and the syntax of Python 3.6: `tasks/bootstrap.py` and the notebook's first cell import it
before anything is installed.
"""

import platform
import re
import sys
import threading
import urllib.request

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PROBE_S = 5  # for the index to answer in


def cpu_build(requirements, python, index=CPU_INDEX, timeout_s=PROBE_S):
    """pip arguments that pick PyTorch's CPU build, or [] where its index does not answer within `timeout_s`.

    `requirements` is the text of the requirement files, `python` (major, minor). torch and torchvision have to come
    from one build (mixed ones fail at import), so the index is used only if it has both pins for this Python and
    machine. Elsewhere than on Linux the default build is the CPU one already.
    """
    pins = dict(re.findall(r"^(torch|torchvision)==([\w.]+)", requirements, flags=re.M))
    if not sys.platform.startswith("linux") or len(pins) < 2:
        return []
    found = []
    # A thread, because urllib's timeout covers neither the look-up of the host's name nor a page that trickles in.
    worker = threading.Thread(target=lambda: found.extend(cpu_wheels(pins, python, index, timeout_s)), daemon=True)
    worker.start()
    worker.join(timeout_s)
    if len(found) < len(pins):
        print(f"torch: the default build ({index} does not offer the CPU build to this machine)", flush=True)
        return []
    print("torch: the CPU build", flush=True)
    return [f"{name}=={version}+cpu" for name, version in pins.items()] + ["--extra-index-url", index]


def cpu_wheels(pins, python, index, timeout_s):
    """Names among `pins` ({name: version}) for which the simple index at `index` has a +cpu wheel that fits here."""
    tag = "cp{0}{1}-cp{0}{1}".format(*python)
    found = []
    for name, version in pins.items():
        try:
            with urllib.request.urlopen(f"{index}/{name}/", timeout=timeout_s) as answer:
                page = answer.read().decode("utf-8", "replace")
        except (OSError, ValueError):  # URLError is an OSError; ValueError: an answer that is not HTTP
            return []
        wheel = rf"{name}-{re.escape(version)}(\+|%2B)cpu-{tag}-\w*{platform.machine()}\.whl"
        if re.search(wheel, page):
            found.append(name)
    return found
