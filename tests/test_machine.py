"""`environment.machine`: what the system says, and what a control group takes from it."""

import shutil

import pytest

from environment import machine
from environment.machine import this_machine


def test_this_machine_has_what_the_system_says(tmp_path):
    import psutil

    here = this_machine(tmp_path / "not yet" / "made")
    assert 0 < here.memory_free <= here.memory_total <= psutil.virtual_memory().total
    assert here.disk_free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)
    assert here.cores >= 1


@pytest.mark.parametrize(("line", "files"), [
    ("0::/box\n", {"memory.max": 4 * 10**9, "memory.current": 3 * 10**9, "memory.stat": "anon 1\ninactive_file 1000"}),
    ("4:memory:/box\n", {"memory.limit_in_bytes": 4 * 10**9, "memory.usage_in_bytes": 3 * 10**9,
                         "memory.stat": "inactive_file 5\ntotal_inactive_file 1000"}),
])
def test_the_limit_of_a_control_group_counts(tmp_path, monkeypatch, line, files):
    own = tmp_path / "cgroup"
    own.write_text(f"9:cpu:/else\n{line}")
    group = tmp_path / ("box" if line.startswith("0") else "memory/box")
    group.mkdir(parents=True)
    for name, content in files.items():
        (group / name).write_text(f"{content}\n")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN_CGROUP", own)
    here = this_machine(tmp_path)
    assert (here.memory_total, here.memory_free) == (4 * 10**9, 10**9 + 1000)


def test_a_control_group_without_a_limit_changes_nothing(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "cgroup").write_text("0::/\n")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN_CGROUP", tmp_path / "cgroup")
    assert [*machine.cgroup_limits()] == []


def test_where_there_are_no_control_groups_nothing_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "OWN_CGROUP", tmp_path / "missing")
    assert machine.cgroup_folders() == []
