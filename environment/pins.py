"""Which of the pinned packages this Python lacks. Only the standard library: it runs before anything is installed.

Installing is the notebook's first cell and `tasks/bootstrap.py`; the reasons for the pins are in `requirements.txt`.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"


def missing_pins(requirements: Path = REQUIREMENTS) -> list[str]:
    """The lines `name==version` of `requirements` that are not met here, without their comments; [] when all are."""
    lines = (line.partition("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    return [pin for pin in lines if pin and not is_met(pin)]


def is_met(pin: str) -> bool:
    name, _, wanted = pin.partition("==")
    try:
        return version(name).partition("+")[0] == wanted  # 2.14.1+cpu is a build of 2.14.1
    except PackageNotFoundError:
        return False
