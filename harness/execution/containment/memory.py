"""A limit on the memory that a process may take."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def limited_memory(max_mb: float | None, device: str) -> Iterator[None]:
    """Let allocations fail that would take this process more than so many MB beyond what it has now.

    On a GPU the limit is on its memory. On a CPU, Linux alone counts what is used and not what is reserved.
    """
    if max_mb is None:
        yield
    elif device.startswith("cuda"):
        import torch  # which own training on a CPU need not load

        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, max_mb * 2**20 / total))
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
    elif sys.platform == "linux":
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = _data_bytes() + int(max_mb * 2**20)
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    else:
        yield


def _data_bytes() -> int:
    """The memory of this process that is its own to write."""
    status = Path("/proc/self/status").read_text("ascii", errors="replace")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData:"))
