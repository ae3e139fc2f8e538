"""What there is of CUDA: what the driver says of the GPUs, held against what torch was built for."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed

from harness.execution.gpus import VISIBLE, Gpu, ask_driver, parse

Finding = tuple[str, str, str]  # what, its state, and a remedy where something is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What torch was built for, and what it sees."""

    cuda: str | None  # version
    targets: tuple[str, ...]  # such as sm_90, or compute_120 for all that are newer
    devices: int
    nccl: str | None  # version


def cuda_findings() -> list[Finding]:
    """The GPUs, and what is missing to train on them."""
    told = [("visible GPUs", os.environ[VISIBLE], "")] if VISIBLE in os.environ else []
    return [*told, *judge(parse(ask_driver() or ""), _built())]


def _built() -> Built:
    there = torch.cuda.is_available()
    nccl = there and torch.distributed.is_available() and torch.distributed.is_nccl_available()
    return Built(
        cuda=torch.version.cuda,
        targets=tuple(torch.cuda.get_arch_list()) if there else (),
        devices=torch.cuda.device_count() if there else 0,
        nccl=".".join(map(str, torch.cuda.nccl.version())) if nccl else None,  # type: ignore[no-untyped-call]
    )


def judge(gpus: Sequence[Gpu], built: Built) -> Iterator[Finding]:
    """What to say of these GPUs to somebody who has this torch."""
    if built.cuda is None:
        remedy = "install a torch that is built for CUDA: pytorch.org/get-started" if gpus else ""
        yield "cuda", "none (this torch is built without CUDA)", remedy
    elif not built.devices and not gpus:
        remedy = "where there is a GPU, install NVIDIA's driver and check it with nvidia-smi"
        yield "cuda", f"no device (torch is built for CUDA {built.cuda})", remedy
    elif not built.devices:
        found = f"torch, built for CUDA {built.cuda}, sees no GPU; driver {gpus[0].driver} has {len(gpus)}"
        yield "cuda", found, f"look at CUDA_VISIBLE_DEVICES; else update the driver to one for CUDA {built.cuda}"
    else:
        yield "cuda", f"{built.devices} visible to torch, built for CUDA {built.cuda}", ""
        several = built.devices > 1 and built.nccl is None
        remedy = "ranks on several GPUs need it: install a torch with NCCL" if several else ""
        yield "nccl", built.nccl or "none", remedy
    for number, gpu in enumerate(gpus):
        yield f"gpu {number}", _described(gpu), _remedy(gpu, built.targets)


def _described(gpu: Gpu) -> str:
    parts = [gpu.name]
    if gpu.memory is not None:
        free = "" if gpu.free is None else f"{gpu.free / 1024:.1f} of "
        parts.append(f"{free}{gpu.memory / 1024:.1f} GiB{' free' if free else ''}")
    if gpu.capability is not None:
        parts.append(f"capability {gpu.capability[0]}.{gpu.capability[1]}")
    return ", ".join([*parts, f"driver {gpu.driver}", *(["cut into parts (MIG)"] if gpu.mig else [])])


def _remedy(gpu: Gpu, targets: Sequence[str]) -> str:
    if not targets or gpu.capability is None or any(_runs(target, gpu.capability) for target in targets):
        return ""
    return f"this torch has kernels for {', '.join(targets)} alone: install another build of it"


def _runs(target: str, capability: tuple[int, int]) -> bool:
    """Whether a GPU runs what is built for a target: of its own generation, or any before it where it is compiled."""
    kind, _, digits = target.rstrip("af").partition("_")
    made = (int(digits[:-1]), int(digits[-1]))
    return made <= capability and (kind == "compute" or made[0] == capability[0])
