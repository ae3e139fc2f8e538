"""What can be known of own training before a trial of it runs: the device, and whether it can be resumed."""

import dis
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import torch

from harness.errors import MachineError
from harness.execution.environment import cpu_name, fingerprint, machine
from harness.execution.messages import CohortEstimate, PreflightRequest, PreflightResult
from harness.spec.cohorts import shape
from harness.spec.loader import load_suite

NOT_OF_US = ("native",)  # members of the fingerprint that are of the harness's own training


def preflight_own(request: PreflightRequest, device: str) -> PreflightResult:
    """What this machine is; no function is tried, for nobody knows how long it takes."""
    suite = load_suite(request.suite)
    trials = list(suite.trials(device=device))
    for trial in trials:
        if trial.device.partition(":")[0] not in ("cpu", "cuda", "mps"):
            raise MachineError(f"unknown device {trial.device!r}; choose from: cpu, cuda, mps")
    found = fingerprint(torch.device(device))
    return PreflightResult(
        device=device,
        fingerprint={name: value for name, value in found.items() if name not in NOT_OF_US} | {"processor": cpu_name()},
        machine=machine(torch.device(device)),
        estimates={shape(trial): CohortEstimate(max_cohort_size=1, work=1.0) for trial in trials},
        notes=tuple(_notes(suite.suite.functions)),
        is_own=True,
    )


def _notes(functions: Any) -> Iterator[str]:
    for name, function in functions.items():
        if not uses_checkpoint(function):
            yield f"{name} never uses its checkpoint: a trial of it that is interrupted starts again"


def uses_checkpoint(function: Callable[..., Any]) -> bool:
    """Whether a function does anything with its third argument; what is no plain function may do what it likes."""
    if not isinstance(function, FunctionType):
        return bool(getattr(function, "is_resumable", True))
    code = function.__code__
    if code.co_argcount < 3:
        return True
    name = code.co_varnames[2]
    if name in code.co_cellvars:
        return True
    # An instruction may load two names at once.
    return any(name in (given if isinstance(given := step.argval, tuple) else (given,)) for step in _loads(code))


def _loads(code: Any) -> Iterator[dis.Instruction]:
    for step in dis.get_instructions(code):
        if "LOAD_FAST" in step.opname:
            yield step
