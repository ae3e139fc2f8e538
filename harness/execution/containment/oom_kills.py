"""Whether the system has killed processes because memory ran out."""

from collections.abc import Iterator
from pathlib import Path

CGROUPS, OWN_GROUPS, VMSTAT = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"), Path("/proc/vmstat")


def count_oom_kills() -> int:
    """How many processes were killed so far for want of memory, in this process's groups or on this machine.

    A number to compare with an earlier one: a kill in a group is counted there and for the machine.
    """
    return sum(_count(path) for path in (*_counters(), VMSTAT))


def _counters() -> Iterator[Path]:
    """The files of this process's groups that count such kills: of cgroup v2, or v1."""
    try:
        lines = OWN_GROUPS.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", maxsplit=2)
        # In a container the group may be named as on the node, while its own is what is mounted.
        for folder in dict.fromkeys((group.lstrip("/"), "")):
            if not controllers:
                yield CGROUPS / folder / "memory.events"
            elif "memory" in controllers.split(","):
                yield CGROUPS / "memory" / folder / "memory.oom_control"


def _count(path: Path) -> int:
    try:
        lines = path.read_text("ascii", errors="replace").splitlines()
    except OSError:
        return 0
    words = [line.split() for line in lines]
    return sum(int(word[1]) for word in words if len(word) == 2 and word[0] == "oom_kill" and word[1].isdecimal())
