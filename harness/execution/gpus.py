"""The GPUs of this machine: which process sees which, and what the driver knows of them. Needs no torch."""

import csv
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

VISIBLE = "CUDA_VISIBLE_DEVICES"
QUERY_FIELDS = ("name", "driver_version", "compute_cap", "memory.total", "memory.free", "mig.mode.current")
DRIVER_TIMEOUT = 20.0  # seconds


def visible_names(device: str, count: int, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Values of CUDA_VISIBLE_DEVICES that show a process one GPU alone, for each that a device such as "cuda" means.

    They are numbers, or the names that the environment has for them; "cuda:1" is the second of those that are visible.
    """
    if not device.startswith("cuda"):
        return ()
    listed = [name.strip() for name in environ.get(VISIBLE, "").split(",") if name.strip()]
    names = (listed or [str(i) for i in range(count)])[:count]
    index = device.partition(":")[2]
    return (names[int(index)],) if index else tuple(names)


def least_used(gpus: Sequence[str], taken: Sequence[str | None]) -> str | None:
    """The GPU of the next process, so that each has as many; None where there are none."""
    return min(gpus, key=taken.count, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU as its driver describes it; memory in MiB, None where the driver doesn't know."""

    name: str
    driver: str
    capability: tuple[int, int] | None
    memory: int | None
    free: int | None
    mig: bool  # whether MIG is enabled: the GPU is split into parts


def ask_driver() -> str | None:
    """The output of nvidia-smi for FIELDS, a line for each GPU; None where it is missing or fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--query-gpu={','.join(QUERY_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=DRIVER_TIMEOUT).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def parse_nvidia_smi(output: str) -> list[Gpu]:
    """The GPUs in the output of nvidia-smi; other lines are left out."""
    rows = csv.reader(output.splitlines(), skipinitialspace=True)
    return [_gpu(row) for row in rows if len(row) == len(QUERY_FIELDS)]


def _gpu(row: Sequence[str]) -> Gpu:
    name, driver, capability, memory, free, mig = (cell.strip() for cell in row)
    major, _, minor = capability.partition(".")
    return Gpu(
        name=name,
        driver=driver,
        capability=(int(major), int(minor)) if major.isdigit() and minor.isdigit() else None,
        memory=_int(memory),
        free=_int(free),
        mig=mig == "Enabled",
    )


def _int(cell: str) -> int | None:
    return int(cell) if cell.isdigit() else None
