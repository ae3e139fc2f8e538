"""The GPUs of this machine: which process sees which, and what the driver says of them. Needs no torch."""

import csv
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

VISIBLE = "CUDA_VISIBLE_DEVICES"
FIELDS = ("name", "driver_version", "compute_cap", "memory.total", "memory.free", "mig.mode.current")
WAIT = 20.0  # seconds for the driver to answer


def names(device: str, count: int, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What to tell a process so that it sees one GPU alone, for each of those that a device such as "cuda" means.

    They are numbers, or what the surroundings call them; "cuda:1" is the second of those that are visible.
    """
    if not device.startswith("cuda"):
        return ()
    given = [name.strip() for name in environ.get(VISIBLE, "").split(",") if name.strip()]
    found = (given or [str(i) for i in range(count)])[:count]
    index = device.partition(":")[2]
    return (found[int(index)],) if index else tuple(found)


def least_used(gpus: Sequence[str], taken: Sequence[str | None]) -> str | None:
    """The GPU of the next process: in turn, and in the place of one that ended; None where there are none."""
    return min(gpus, key=taken.count, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """What the driver says of a GPU; memory in MiB, None where it doesn't tell."""

    name: str
    driver: str
    capability: tuple[int, int] | None
    memory: int | None
    free: int | None
    mig: bool  # whether it is cut into parts


def ask_driver() -> str | None:
    """What nvidia-smi says of FIELDS, GPU by GPU; None where it is missing or can't say."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def parse(said: str) -> list[Gpu]:
    """The GPUs in an answer of nvidia-smi; lines that are none are left out."""
    rows = csv.reader(said.splitlines(), skipinitialspace=True)
    return [_gpu(row) for row in rows if len(row) == len(FIELDS)]


def _gpu(row: Sequence[str]) -> Gpu:
    name, driver, capability, memory, free, mig = (cell.strip() for cell in row)
    major, _, minor = capability.partition(".")
    return Gpu(
        name=name,
        driver=driver,
        capability=(int(major), int(minor)) if major.isdigit() and minor.isdigit() else None,
        memory=_number(memory),
        free=_number(free),
        mig=mig == "Enabled",
    )


def _number(cell: str) -> int | None:
    return int(cell) if cell.isdigit() else None
