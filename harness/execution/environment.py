"""What torch can do on this machine."""

from collections.abc import Iterator

import torch
import torch.distributed

from harness.data.downloads import SOURCES
from harness.execution.cuda import cuda_findings
from harness.execution.messages import InspectResult
from harness.execution.preflight import cpu_name


def inspect() -> InspectResult:
    """Devices and backends, with a remedy where something that a run may need is missing."""
    findings = [
        ("processor", f"{cpu_name()} ({torch.backends.cpu.get_cpu_capability()})", ""),
        ("worker processes", f"start, with {torch.get_num_threads()} thread each", ""),
        *cuda_findings(),
        ("mps", "available" if torch.backends.mps.is_available() else "none", ""),
        ("backends of torch.distributed", ", ".join(_backends()) or "none", ""),
        *((f"dataset {name}", where, "") for name, where in _datasets()),
    ]
    return InspectResult(findings=findings)


def _datasets() -> Iterator[tuple[str, str]]:
    """Where each dataset is that has to be got, or how to get it: what no suite asks for is not missing."""
    for name, source in SOURCES.items():
        yield name, source.is_available() or f"not here; where a suite needs it: {source.remedy}"


def _backends() -> list[str]:
    if not torch.distributed.is_available():
        return []
    checks = {"gloo": torch.distributed.is_gloo_available, "nccl": torch.distributed.is_nccl_available}
    return [name for name, there in checks.items() if there()]
