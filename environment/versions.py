"""The versions that the export works with, and why. Pins live in `requirements.txt`; this is the window around them.

    check_versions()         # VersionError: transformers 5.5.0 is installed; this tutorial needs ...
    installed("openvino")    # "2026.4.1"
"""

from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet

WINDOW = {  # package: (versions, why)
    "transformers": ("==5.0.0", "optimum-intel 2.2 exports Qwen2-VL up to 5.0.0, and gradio needs that one at least"),
    "optimum-intel": (">=2.2,<2.3", "each release moves the range of transformers versions that it exports"),
    "optimum": (">=2.3,<2.4", "optimum-intel 2.2 is built on it"),
    "openvino": (">=2026.4,<2027", "2026.4 is what the tutorial was tried with"),
    "openvino-tokenizers": (">=2026.4,<2027", "its binary must match openvino's release"),
    "nncf": (">=3.4,<4", "the INT4 defaults that the tutorial describes are those of 3.4"),
    "torch": (">=2.14,<3", "2.14 is what the tutorial was tried with, and torchvision is built for exactly one torch"),
    "huggingface-hub": (">=1.0,<2", "transformers 5 and gradio 6.20 both need 1.0 at least"),
    "gradio": (">=6.20,<7", "older releases have known vulnerabilities, and 7 may change the calls of the chat page"),
}
ADVICE = "Install the set that was tried: pip install -r requirements.txt, then restart the kernel."


class VersionError(RuntimeError):
    """A package is missing or outside the window; the message names each, the reason, and what to type."""


def check_versions() -> None:
    """Raises VersionError unless each package of WINDOW is installed in a version inside it. Imports none of them."""
    found = [problem_with(name, window, reason) for name, (window, reason) in WINDOW.items()]
    problems = [problem for problem in found if problem]
    if problems:
        raise VersionError("\n".join([*problems, ADVICE]))


def problem_with(name: str, window: str, reason: str) -> str | None:
    """What is wrong with the installed version of a package, as a sentence; None for one inside its window."""
    found = installed(name)
    if found is None:
        return f"{name} is not installed; this tutorial needs {name}{window} ({reason})."
    if SpecifierSet(window).contains(found, prereleases=True):
        return None
    return f"{name} {found} is installed; this tutorial needs {name}{window} ({reason})."


def installed(name: str) -> str | None:
    """The version of a package, None where it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
