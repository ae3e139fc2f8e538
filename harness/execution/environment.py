"""What this machine is, and what torch can do on it, with a remedy where something that a run may need is missing."""

import ctypes
import os
import platform
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed

from harness.data.downloads import SOURCES
from harness.ensemble.native.build import library_or_error
from harness.errors import BuildError
from harness.execution.cores import usable_cores
from harness.execution.gpus import VISIBLE, Gpu, ask_driver, parse_nvidia_smi
from harness.execution.messages import Finding, InspectResult


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchBuild:
    """What torch was built for, and what it sees."""

    cuda: str | None  # version
    targets: tuple[str, ...]  # such as sm_90, or compute_120 for all that are newer
    devices: int
    nccl: str | None  # version


def inspect() -> InspectResult:
    """Devices, backends and data sets of this machine."""
    findings = [
        ("processor", f"{cpu_name()} ({torch.backends.cpu.get_cpu_capability()})", ""),
        ("worker processes", f"start, with {torch.get_num_threads()} thread each", ""),
        *([("visible GPUs", os.environ[VISIBLE], "")] if VISIBLE in os.environ else []),
        *cuda_findings(parse_nvidia_smi(ask_driver() or ""), torch_build()),
        ("mps", "available" if torch.backends.mps.is_available() else "none", ""),
        ("backends of torch.distributed", ", ".join(_backends()) or "none", ""),
        *_dataset_findings(),
    ]
    return InspectResult(findings=findings)


def _dataset_findings() -> Iterator[Finding]:
    """Where each dataset is that has to be downloaded, or how to get it. None is missing: no suite may ask for it."""
    for name, source in SOURCES.items():
        yield f"dataset {name}", source.is_available() or f"not here; where a suite needs it: {source.remedy}", ""


def _backends() -> list[str]:
    if not torch.distributed.is_available():
        return []
    checks = {"gloo": torch.distributed.is_gloo_available, "nccl": torch.distributed.is_nccl_available}
    return [name for name, is_available in checks.items() if is_available()]


def torch_build() -> TorchBuild:
    """The torch of this environment."""
    has_cuda = torch.cuda.is_available()
    has_nccl = has_cuda and torch.distributed.is_available() and torch.distributed.is_nccl_available()
    return TorchBuild(
        cuda=torch.version.cuda,
        targets=tuple(torch.cuda.get_arch_list()) if has_cuda else (),
        devices=torch.cuda.device_count() if has_cuda else 0,
        nccl=".".join(map(str, torch.cuda.nccl.version())) if has_nccl else None,  # type: ignore[no-untyped-call]
    )


def cuda_findings(gpus: Sequence[Gpu], build: TorchBuild) -> Iterator[Finding]:
    """What the driver's GPUs are good for with this torch, and what is missing to train on them."""
    if build.cuda is None:
        remedy = "install a torch that is built for CUDA: pytorch.org/get-started" if gpus else ""
        yield "cuda", "none (this torch is built without CUDA)", remedy
    elif not build.devices and not gpus:
        remedy = "where there is a GPU, install NVIDIA's driver and check it with nvidia-smi"
        yield "cuda", f"no device (torch is built for CUDA {build.cuda})", remedy
    elif not build.devices:
        state = f"torch, built for CUDA {build.cuda}, sees no GPU; driver {gpus[0].driver} has {len(gpus)}"
        yield "cuda", state, f"look at CUDA_VISIBLE_DEVICES; else update the driver to one for CUDA {build.cuda}"
    else:
        yield "cuda", f"{build.devices} visible to torch, built for CUDA {build.cuda}", ""
        lacks_nccl = build.devices > 1 and build.nccl is None
        remedy = "ranks on several GPUs need it: install a torch with NCCL" if lacks_nccl else ""
        yield "nccl", build.nccl or "none", remedy
    for number, gpu in enumerate(gpus):
        yield f"gpu {number}", _description(gpu), _remedy(gpu, build.targets)


def _description(gpu: Gpu) -> str:
    parts = [gpu.name]
    if gpu.memory is not None:
        free = "" if gpu.free is None else f"{gpu.free / 1024:.1f} of "
        parts.append(f"{free}{gpu.memory / 1024:.1f} GiB{' free' if free else ''}")
    if gpu.capability is not None:
        parts.append(f"capability {gpu.capability[0]}.{gpu.capability[1]}")
    return ", ".join([*parts, f"driver {gpu.driver}", *(["MIG enabled"] if gpu.mig else [])])


def _remedy(gpu: Gpu, targets: Sequence[str]) -> str:
    if not targets or gpu.capability is None or any(_runs(target, gpu.capability) for target in targets):
        return ""
    return f"this torch has kernels for {', '.join(targets)} alone: install another build of it"


def _runs(target: str, capability: tuple[int, int]) -> bool:
    """Whether a GPU runs code for a target: of its own generation, or of any before it where the driver compiles it."""
    kind, _, digits = target.rstrip("af").partition("_")
    target_capability = (int(digits[:-1]), int(digits[-1]))
    return target_capability <= capability and (kind == "compute" or target_capability[0] == capability[0])


def fingerprint(device: torch.device) -> dict[str, Any]:
    """All that the bits of a result may depend on besides the trial."""
    return {
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "torch": str(torch.__version__),  # its own class would have torch loaded wherever this is read
        "numpy": np.__version__,
        "scikit-learn": version("scikit-learn"),
        "threads": torch.get_num_threads(),
        "native": native_library() if device.type == "cpu" else "",
    }


def machine(device: torch.device) -> dict[str, Any]:
    """Where a result comes from: an allow-list, never all of the environment."""
    return {
        "host": socket.gethostname(),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        "cores": usable_cores(),
        "python": platform.python_version(),
        **({"gpus": torch.cuda.device_count()} if device.type == "cuda" else {}),
    }


def native_library() -> str:
    """What compiled the native library of this process, and for which processors; "" where there is none."""
    library = library_or_error("float")
    if isinstance(library, BuildError):
        return ""
    library.handle.harness_compiler.restype = ctypes.c_char_p
    return f"{library.target.name}, {library.handle.harness_compiler().decode()}"


@cache
def cpu_name() -> str:
    """The processor's name as its maker writes it, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
