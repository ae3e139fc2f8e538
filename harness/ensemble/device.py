"""Settings of devices: deterministic kernels, in full single precision unless a trial asks for TF32."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.errors import MachineError, SuiteError
from harness.spec.trial import Trial

TF32_SINCE = (8, 0)  # capability of CUDA devices


def check_compute_options(trial: Trial, model: nn.Module) -> None:
    """SuiteError or MachineError where the trial asks for an option that its model or its device doesn't support."""
    if trial.memory_format == "channels_last" and not any(type(m).__name__.endswith("Conv2d") for m in model.modules()):
        raise SuiteError(
            f"memory_format='channels_last' is for convolutions of images, and {trial.model!r} has none; leave it out"
        )
    device = torch.device(trial.device)
    if trial.tf32 and (device.type != "cuda" or torch.cuda.get_device_capability(device) < TF32_SINCE):
        raise MachineError(
            f"tf32=True needs a CUDA device of capability 8.0 or more, got device {trial.device!r}; leave it out"
        )
    if trial.compile and trial.world_size > 1:
        raise SuiteError(f"compile=True is for one process, got world_size {trial.world_size}; leave it out")
    if trial.compile and any(isinstance(m, _BatchNorm) and m.momentum is None for m in model.modules()):
        raise SuiteError("compile=True would recompile in every step with norm_momentum='cumulative'; leave one out")
    if trial.compile and (error := _compiler_error(device)):
        raise MachineError(f"compile=True: torch.compile doesn't work on this machine: {error}; leave it out")


def _compiler_error(device: torch.device) -> str:
    """The error that torch raises when it compiles a small function for the device; "" where it can."""
    try:
        torch.compile(lambda x: x.square() + 1)(torch.ones(2, device=device))
    except Exception as error:  # noqa: BLE001 (a compiler that is missing shows in many ways)
        return " ".join(str(error).split())[:200] or type(error).__name__
    return ""


def configure(trial: Trial, device: torch.device) -> None:
    """Set this process's threads and CUDA's numerics as the trial asks; CUDA is deterministic wherever torch can."""
    torch.set_num_threads(trial.threads)
    if device.type != "cuda":
        return
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False  # it would choose kernels by their time
    # These names and no newer ones: torch's compiler reads them, and refuses a mixture of old and new.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = trial.tf32
    if torch.cuda.is_available():
        torch.cuda.set_device(torch.cuda.current_device() if device.index is None else device.index)
        torch.cuda.reset_peak_memory_stats()


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device, copied without waiting for the device."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def synchronise(device: torch.device) -> None:
    """Wait for all kernels that the device was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
