"""Which of the pinned packages this Python lacks. Only the standard library: it runs before anything is installed.

Installing is the notebook's first cell and `tasks/bootstrap.py`; the reasons for the pins are in `requirements.txt`.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"


def missing_pins(requirements: Path = REQUIREMENTS) -> list[str]:
    """The lines `name==version` of `requirements` that are not met here, without their comments; [] when all are."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    pins = [line.partition("#")[0].strip() for line in lines]
    return [pin for pin in pins if pin and not is_met(pin)]


def is_met(pin: str) -> bool:
    """Whether `pin`, such as "torch==2.14.1", is what is installed; a build of it such as 2.14.1+cpu will do."""
    name, _, wanted = pin.partition("==")
    try:
        return version(name).partition("+")[0] == wanted
    except PackageNotFoundError:
        return False
