"""What can only be known with torch at hand: the device, and whether every kind of trial can be trained at all."""

import os
import platform
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from torch import nn

from harness.data.datasets import DATASETS, Dataset, load_dataset, save_for_report
from harness.ensemble.backend_choice import activation_bytes, select_backend
from harness.ensemble.backends import BACKENDS
from harness.ensemble.device import check_compute_options, configure
from harness.ensemble.ensemble import Ensemble, fuse
from harness.ensemble.optim import OPTIMIZERS, SCHEDULES
from harness.ensemble.precision import PRECISIONS
from harness.errors import HarnessError, MachineError, SuiteError, lookup
from harness.execution.cohort_size import (
    CACHE_SHARE,
    cache_bytes,
    max_cohort_on_cpu,
    max_cohort_on_gpu,
    step_time,
    timed,
    tune_cohort_size,
)
from harness.execution.messages import CohortEstimate, PreflightRequest, PreflightResult
from harness.nn.init import INITS
from harness.nn.models import MODELS, build
from harness.nn.norms import resolve_sync_bn_impl
from harness.probes import probes_of
from harness.spec.cohorts import Shape, shape
from harness.spec.loader import SuiteFile, load_suite
from harness.spec.trial import Trial
from harness.training.augmentation import check_augment
from harness.training.state import TrainState, eval_steps_of, init_state, probe_steps_of, steps_per_epoch, total_steps

PROBE_STEPS = 4
MEMORY_MARGIN = 4  # times that part: a model that keeps more trains alone, whatever the mode makes of it


def preflight(job: PreflightRequest) -> PreflightResult:
    """Resolve the device and try each kind of trial on a few examples; SuiteError or MachineError where that fails."""
    device = resolve_device(job.device)
    if device == "cuda":
        torch.cuda.set_device(int(job.device.partition(":")[2] or 0))
    suite = load_suite(job.suite)
    alike: dict[Shape, list[Trial]] = {}
    for trial in suite.trials(device=device):
        alike.setdefault(shape(trial), []).append(trial)
    for init in {trial.init for trials in alike.values() for trial in trials}:
        lookup(INITS, init, "init")
    names = dict.fromkeys(trials[0].dataset for trials in alike.values())
    datasets = {name: _dataset(name, suite) for name in names}
    kinds = {of: dry_run(trials[0], datasets[trials[0].dataset], suite, job.workers) for of, trials in alike.items()}
    for dataset in datasets.values():
        save_for_report(dataset, job.data)
    if device == "cuda" and job.cut:
        for of, trials in alike.items():
            kinds[of] = replace(
                kinds[of], max_cohort_size=_tuned_size(trials, kinds[of], suite, datasets[trials[0].dataset])
            )
    if job.measure:
        for of, trials in alike.items():
            some = trials[: kinds[of].max_cohort_size]
            kinds[of] = replace(kinds[of], seconds=_measure(some, datasets[trials[0].dataset], suite) / len(some))
    return PreflightResult(
        device=device,
        fingerprint=fingerprint(torch.device(device)),
        machine=machine(torch.device(device)),
        estimates=kinds,
    )


def resolve_device(name: str) -> str:
    """The device that the name stands for; "auto" is the best there is. MachineError where this machine lacks it."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    found = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind not in found or (index and not index.isdigit()):
        raise SuiteError(f"unknown device {name!r}; choose from: auto, {', '.join(found)}, cuda:0, cuda:1, ...")
    if int(index or 0) >= found[kind]:
        raise MachineError(
            f"device {name!r} is not on this machine (it has {found[kind]} of {kind}); try --device auto"
        )
    return kind  # of several GPUs, no trial depends on which it had


def fingerprint(device: torch.device) -> dict[str, Any]:
    """All that the bits of a result may depend on besides the trial and its cohort."""
    return {
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "threads": torch.get_num_threads(),
    }


def machine(device: torch.device) -> dict[str, Any]:
    """Where a result comes from: an allow-list, never all of the environment."""
    return {
        "host": socket.gethostname(),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        **({"gpus": torch.cuda.device_count()} if device.type == "cuda" else {}),
    }


@cache
def cpu_name() -> str:
    """The processor's name as its maker writes it, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _dataset(name: str, suite: SuiteFile) -> Dataset:
    if name in suite.suite.functions and name in DATASETS:
        raise SuiteError(f"a dataset of the suite's own can't be called {name!r}: there is one already")
    own = name in suite.suite.functions
    try:
        dataset, *again = (load_dataset(name, suite.path.parent, suite.suite.functions) for _ in range(1 + own))
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:  # a function of the suite's own may raise anything
        raise SuiteError(f"dataset {name!r} can't be loaded: {_line(error)}") from error
    if any(_differ(dataset.x, other.x) or _differ(dataset.y, other.y) for other in again):
        # Every worker makes it anew, and the arms would be trained on different data.
        raise SuiteError(
            f"dataset {name!r} is another each time it is made; draw it from a generator with a fixed seed"
        )
    return dataset


def _differ(arrays: Mapping[str, NDArray[Any]], others: Mapping[str, NDArray[Any]]) -> bool:
    return any(not np.array_equal(others[split], array) for split, array in arrays.items())


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def dry_run(trial: Trial, dataset: Dataset, suite: SuiteFile, workers: int) -> CohortEstimate:
    """Build one model and let a few examples through it, as they will go in training."""
    _check_settings(trial)
    check_augment(trial, dataset.input_shape)
    steps_per_epoch(trial, dataset)
    functions = suite.suite.functions
    if trial.model in functions and trial.model.partition("-")[0] in MODELS:
        raise SuiteError(f"a model of the suite's own can't be called {trial.model!r}: there is one already")
    one_process = replace(trial, world_size=1) if trial.world_size > 1 else trial
    what = f"model {trial.model!r} with norm {trial.norm!r}"
    try:
        model = build(one_process, dataset.input_shape, dataset.classes, functions)
        check_compute_options(trial, model)
        backend, reason = _backend(model, trial, dataset.input_shape)
        stack = fuse([model], dataset.input_shape, torch.device("cpu"), backend)
        out = stack(torch.from_numpy(dataset.x["train"][:2]), shared=True)
        kept = activation_bytes(stack, dataset.input_shape, trial.batch_size)
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:  # a model of the suite's own may raise anything
        raise SuiteError(f"{what} can't be trained: {_line(error)}") from error
    if out.shape[1:] != (dataset.classes, 2):
        wanted, got = (2, dataset.classes), (*out.shape[:0:-1],)
        raise SuiteError(f"model {trial.model!r} must turn two examples into scores of shape {wanted}, got {got}")
    if trial.world_size > 1:
        resolve_sync_bn_impl(trial)  # says where it can't be had
        return CohortEstimate(max_cohort_size=1, work=float(kept * total_steps(trial, dataset)))
    return CohortEstimate(
        max_cohort_size=trial.max_cohort_size or _max_cohort_size(stack, dataset, kept, trial.device, workers),
        work=float(kept * total_steps(trial, dataset)),
        note=f"{what} {BACKENDS[backend].note}, which is slower: {reason}" if reason else "",
    )


def _max_cohort_size(stack: Ensemble, dataset: Dataset, kept: int, device: str, workers: int) -> int:
    """How many models of this kind may train together on a device that so many workers use."""
    if device != "cuda":
        return max_cohort_on_cpu(kept)
    if stack.backend.name == "loop":
        return 1
    weights = sum(weight[0].nbytes for weight in stack.weights.values())
    return max_cohort_on_gpu(kept, weights, dataset.size("train"), -(-workers // torch.cuda.device_count()))


def _tuned_size(trials: Sequence[Trial], kind: CohortEstimate, suite: SuiteFile, dataset: Dataset) -> int:
    """How many of these models gain from training together on the GPU, of those that it has memory for."""
    most = min(kind.max_cohort_size, len(trials))
    if trials[0].max_cohort_size or most == 1:
        return kind.max_cohort_size
    configure(trials[0], torch.device("cuda"))

    def prepared(some: Sequence[Trial]) -> TrainState:
        return init_state(some, dataset, torch.device("cuda"), suite.suite.functions)

    return tune_cohort_size(most, lambda size: step_time(trials[:size], prepared))


def _backend(model: nn.Module, trial: Trial, inputs: tuple[int, ...]) -> tuple[str, str]:
    """How models of this kind train together, and why so where it is slow; one that fills the cache trains alone.

    For such a model the fastest mode is not looked for: that takes half a minute for a resnet-110.
    """
    lone = fuse([model], inputs, torch.device("cpu"), "loop")
    if (
        not trial.max_cohort_size
        and activation_bytes(lone, inputs, trial.batch_size) > MEMORY_MARGIN * cache_bytes() // CACHE_SHARE
    ):
        return "loop", ""
    return select_backend([model], inputs)


def _check_settings(trial: Trial) -> None:
    optimizer = lookup(OPTIMIZERS, trial.optimizer, "optimizer")
    lookup(SCHEDULES, trial.schedule, "schedule")
    probes_of(trial.probes)
    if trial.momentum and not optimizer.has_momentum:
        having = ", ".join(name for name, other in OPTIMIZERS.items() if other.has_momentum)
        raise SuiteError(f"momentum is of {having}; with {trial.optimizer} it must be 0.0, got {trial.momentum}")
    precision = lookup(PRECISIONS, trial.precision, "precision")
    if resolve_device(trial.device) != trial.device:
        raise SuiteError(f"a trial trains on any GPU: write device='cuda' for {trial.device!r}, and choose by --device")
    if trial.device == "mps" and precision.dtype is torch.float64:
        raise MachineError("precision 'float64' is not on device 'mps'; use the cpu, or float32")
    if trial.world_size > 1 and trial.max_cohort_size not in (None, 1):
        raise SuiteError(
            f"max_cohort_size={trial.max_cohort_size}: a trial on {trial.world_size} ranks trains by itself"
        )


def _measure(trials: Sequence[Trial], dataset: Dataset, suite: SuiteFile) -> float:
    """A guess at the seconds that a cohort takes, from a few of its steps, which are thrown away."""
    trial = trials[0]
    if trial.world_size > 1:  # as long, at most, as it would take on one rank
        trials = [replace(trial, world_size=1)]
    program = init_state(trials, dataset, torch.device(trial.device), suite.suite.functions)
    spent: dict[str, list[float]] = {"train": [], "eval": [], "probe": []}
    for seconds, work in timed(program, PROBE_STEPS):
        spent[work].append(seconds)
    steps = total_steps(trial, dataset)
    often = {"train": steps, "eval": len(eval_steps_of(trial, steps)), "probe": len(probe_steps_of(trial, steps))}
    return sum(min(spent[work]) * times for work, times in often.items() if times)
