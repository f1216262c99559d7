"""The Pythons that every pinned package supports; tests/test_pins.py compares.

Only the standard library and the syntax of Python 3.6: `tasks/bootstrap.py` imports it before anything is installed.
"""

PYTHON_MIN = (3, 11)
PYTHON_MAX = (3, 13)


def is_supported(version):
    """Whether `version`, such as (3, 12) or sys.version_info, is in the range."""
    return PYTHON_MIN <= tuple(version)[:2] <= PYTHON_MAX


def python_range():
    """The range as people write it: "3.11 to 3.13"."""
    return "{}.{} to {}.{}".format(*PYTHON_MIN, *PYTHON_MAX)
