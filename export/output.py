"""Reading what the exporter prints: which lines a reader wants to see, which matter after a failure, and what to do.

Running the exporter is the business of `export.run`.
"""

import re

TABLE_TITLE = "INFO:nncf:Statistics of the bitwidth"
BIT_WIDTHS = re.compile(rf"{TABLE_TITLE}|^\s*[│┃┍┝├┕┌└]")
PROGRESS = re.compile(r"\d%\s*[|•]|━{3}")
NOISE = re.compile(r"Warning\b|^\s*warnings\.warn|^(INFO|WARNING|DEBUG)\b|deprecated", re.IGNORECASE)
TAIL_LINES = 12
HINTS = (  # (what the output says, what to do next), first match wins
    (r"No space left on device|Disk quota exceeded", "free some disk space, then run this again"),
    (r"File too large", "the file system or a limit of this account allows no file as large: use another folder"),
    (r"Read-only file system|Permission denied", "choose a folder that you may write to, or get the right to"),
    (r"half a model|iostream error",  # all that OpenVINO says when it cannot write on
     "the disk is probably full: free some space, then run this again"),
    (r"MemoryError|bad_alloc|Cannot allocate memory", "close other programs, or choose a smaller model"),
    (r"couldn't connect|ConnectError|name resolution|Name or service not known|LocalEntryNotFound|OfflineModeIsEnabled",
     "the hub cannot be reached: check the network, or choose a model that is already on disk"),
    (r"SafetensorError", "the model's files are incomplete: download or copy them again"),
    (r"RepositoryNotFound|Repository Not Found|not a valid model identifier|404 Client Error",
     "check the spelling of the model's name, or log in if it is a private one"),
    (r"InvalidGroupSizeError", "this model has layers that 4-bit groups of 128 do not fit: "
                               'use {"weight-format": "int8"}, or a "group-size" that divides their widths'),
    (r"invalid choice|unrecognized arguments|expected one argument", "correct additional_args"),
)


def is_bit_width_line(text: str) -> bool:
    """True for the lines of NNCF's table of how many layers got how many bits."""
    return BIT_WIDTHS.search(text) is not None


def is_table_title(text: str) -> bool:
    """True for the line above each of these tables."""
    return TABLE_TITLE in text


def is_progress(text: str) -> bool:
    """True for a progress bar of NNCF or of a download, in any of its states."""
    return PROGRESS.search(text) is not None and not is_bit_width_line(text)


def relevant_tail(lines: list[str]) -> str:
    """The last lines that matter: the final exception with its message if there is one, else the last plain lines."""
    plain = [line for line in lines if line.strip() and not is_bit_width_line(line)]
    tracebacks = [index for index, line in enumerate(plain) if line.startswith("Traceback (most recent call last)")]
    if tracebacks:
        exception = plain[tracebacks[-1] + 1 :]
        while exception and exception[0].startswith(" "):  # the traceback's frames are indented, its message is not
            exception.pop(0)
        plain = exception or plain
    told = [line for line in plain if not NOISE.search(line)]
    return "\n".join(told[-TAIL_LINES:])


def next_step(tail: str, returncode: int | None) -> str | None:
    """What a reader can do about a failure that ended with `tail`, where that is known."""
    if returncode in (-9, 137):  # SIGKILL; on Linux mostly the kernel's own, when memory runs out
        return "the system ended it, most often for lack of memory: close other programs or choose a smaller model"
    for pattern, hint in HINTS:
        if re.search(pattern, tail, re.IGNORECASE):
            return hint
    return None
