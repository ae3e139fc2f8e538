"""How many cores this process can use."""

import math
import os
from pathlib import Path

CGROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def usable_cores() -> int:
    """The cores that this process may run on, or fewer where the quota of a container is less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota())))


def _quota() -> float:
    """The least of the quotas of this process's groups, in cores; infinite where there is none.

    `docker --cpus 1`, Kubernetes and schedulers set a quota of time, which a set of cores does not show.
    """
    try:
        lines = OWN_GROUPS.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return math.inf
    quotas = [math.inf]
    for line in lines:
        _, controllers, group = line.split(":", maxsplit=2)
        # In a container the group may be named as on the node, while its own is what is mounted.
        for path in [Path(group), *Path(group).parents, Path("/")]:
            if not controllers:
                quotas.append(_cores(_words(CGROUPS / path.relative_to("/") / "cpu.max")))
            elif "cpu" in controllers.split(","):
                folder = CGROUPS / "cpu" / path.relative_to("/")
                quotas.append(_cores(_words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")))
    return min(quotas)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text("ascii", errors="replace").split()
    except OSError:
        return []


def _cores(words: list[str]) -> float:
    """The cores that a quota and its period stand for; "max" and -1 stand for no quota."""
    try:
        quota, period = map(int, words)
        return quota / period if quota > 0 and period > 0 else math.inf
    except ValueError:
        return math.inf
