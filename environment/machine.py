"""What this machine has to offer: memory, disk, cores. Not here: what a model needs of it (`catalog/costs.py`)."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Machine:
    """What this process may use; sizes in bytes. A container's limit counts, not only the machine's own."""

    memory_free: int
    memory_total: int
    disk_free: int
    cores: int


def this_machine(folder=".") -> Machine:
    """Looks at memory, at cores, and at the disk that `folder` is on, or will be on once it is made."""
    import psutil  # a dependency of nncf

    memory, limits = psutil.virtual_memory(), list(cgroup_limits())
    free = min([memory.available, *(limit - used for limit, used in limits)])
    can_count_own = hasattr(os, "sched_getaffinity")
    return Machine(
        memory_free=max(0, free),
        memory_total=min([memory.total, *(limit for limit, _ in limits)]),
        disk_free=shutil.disk_usage(existing(Path(folder).expanduser().absolute())).free,
        cores=len(os.sched_getaffinity(0)) if can_count_own else os.cpu_count() or 1,
    )


def existing(folder: Path) -> Path:
    """`folder`, or the closest folder above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def cgroup_limits():
    """Yields (limit, used) in bytes for each control group that bounds this process's memory; nothing off Linux.

    Memory that only caches files does not count as used: it is given back when somebody needs it.
    """
    for folder in cgroup_folders():
        for limit_file, used_file in (("memory.max", "memory.current"),
                                      ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            limit, used = read_number(folder / limit_file), read_number(folder / used_file)
            if limit is not None and used is not None:
                yield limit, max(0, used - cached(folder))


def cgroup_folders() -> list[Path]:
    """This process's control group and those above it, in version 2's layout and in version 1's."""
    try:
        lines = OWN_CGROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            own = CGROUPS / controllers / path.strip("/")
            # In a container the path may be the one outside; its own group is then the root of what it sees.
            folders += [folder for folder in (own, *own.parents) if folder.is_relative_to(CGROUPS)]
    return list(dict.fromkeys(folders))


def read_number(file: Path) -> int | None:
    """None where there is no such file, or no limit ("max")."""
    try:
        return int(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def cached(folder: Path) -> int:
    """Bytes of files in a control group's memory that nobody has used for a while."""
    try:
        lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    found = dict(line.split(maxsplit=1) for line in lines if " " in line)
    return int(found.get("total_inactive_file", found.get("inactive_file", 0)))
