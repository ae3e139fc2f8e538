"""The process behind a claim or a sign of life: who it is, and whether it still runs."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from harness.typed import is_whole

SLURM_TASK = "SLURM_ARRAY_TASK_ID"
JOB_VARIABLES = (  # scheduler, job, and the element of an array; the most telling first
    ("SLURM", "SLURM_ARRAY_JOB_ID", SLURM_TASK),
    ("SLURM", "SLURM_JOB_ID", ""),
    ("PBS", "PBS_JOBID", ""),
    ("LSF", "LSB_JOBID", "LSB_JOBINDEX"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process that works in a results folder."""

    host: str
    pid: int
    job: str = ""  # of a scheduler, such as SLURM 1234_5
    since: str = ""  # UTC
    is_joined: bool = False  # whether others may work beside it
    kernel: str = ""  # what pid belongs to: a boot of a machine and a container; "" where the system can't tell
    token: str = ""  # of this run of the process: it may have several
    birth: str = ""  # when the process was started, in the kernel's own count: numbers of processes are used again

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"{self.host}, process {self.pid}{job}, since {self.since}"


def this_process(*, is_joined: bool, environment: Mapping[str, str] = os.environ) -> Owner:
    """This process, as an owner from now on."""
    return Owner(
        host=socket.gethostname(),
        pid=os.getpid(),
        job=job_of(environment),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        is_joined=is_joined,
        kernel=_kernel(),
        token=uuid4().hex,
        birth=_birth(os.getpid()),
    )


def job_of(environment: Mapping[str, str]) -> str:
    """The job of a scheduler that a process with these variables belongs to; "" where it belongs to none."""
    for scheduler, job, task in JOB_VARIABLES:
        if job in environment:
            element = environment.get(task, "0")
            return f"{scheduler} {environment[job]}" + (f"_{element}" if task == SLURM_TASK or element != "0" else "")
    return ""


def has_died(owner: Owner) -> bool:
    """Whether the process is known to be gone. Of another machine this is never known."""
    if owner.kernel != _kernel() or owner.host != socket.gethostname():
        return False
    birth = _birth(owner.pid)
    return birth != owner.birth if birth else not _exists(owner.pid)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def owner_from_json(content: object) -> Owner | None:
    """The owner that was written as a JSON object; None where this is none."""
    return Owner(**content) if isinstance(content, Mapping) and is_whole(content, Owner) else None


def _kernel() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _birth(pid: int) -> str:
    """When a process was started, in ticks since the boot; "ended" of one that has, "" where the system can't tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    state, *rest = stat.rpartition(")")[2].split()
    return "ended" if state in "ZX" else rest[18]
