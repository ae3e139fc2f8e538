"""How many workers `--workers auto` starts on the CPU: the cores that may be used, or the quota of a container."""

import os
from types import SimpleNamespace

import pytest

from harness.execution import cores
from harness.execution.executors.pool import PoolExecutor


@pytest.fixture
def workers(tmp_path, monkeypatch):
    """The number of workers on a machine of eight cores with these groups and files of quotas."""

    def count(groups, files):
        (tmp_path / "groups").write_text(groups)
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        executor = PoolExecutor(workers=None, device="auto", stop=lambda: False)
        return executor.worker_count(SimpleNamespace(device="cpu", machine={}))

    monkeypatch.setattr(cores, "OWN_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return count


NEW, OLD = "0::/pod/task\n", "9:memory:/pod\n3:cpu,cpuacct:/pod\n1:name=systemd:/\n"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        (NEW, {"pod/task/cpu.max": "200000 100000\n"}, 2),
        (NEW, {"pod/task/cpu.max": "50000 100000"}, 1),
        (NEW, {"pod/task/cpu.max": "250000 100000"}, 3),
        (NEW, {"pod/task/cpu.max": "max 100000", "pod/cpu.max": "300000 100000"}, 3),  # the group above has it
        (NEW, {"cpu.max": "400000 100000"}, 4),  # the group of the node is mounted as the root
        (NEW, {"pod/task/cpu.max": "1600000 100000"}, 8),
        (NEW, {"pod/task/cpu.max": "max 100000"}, 8),
        (NEW, {"pod/task/cpu.max": "no number"}, 8),
        (NEW, {}, 8),
        (OLD, {"cpu/pod/cpu.cfs_quota_us": "100000\n", "cpu/pod/cpu.cfs_period_us": "50000\n"}, 2),
        (OLD, {"cpu/pod/cpu.cfs_quota_us": "-1\n", "cpu/pod/cpu.cfs_period_us": "100000\n"}, 8),
        ("", {}, 8),
    ],
)
def test_auto_is_one_worker_for_each_core_of_the_quota(workers, groups, files, expected):
    assert workers(groups, files) == expected


def test_a_system_without_groups_has_its_cores(workers, tmp_path, monkeypatch):
    monkeypatch.setattr(cores, "OWN_GROUPS", tmp_path / "none")
    assert workers("", {}) == 8
