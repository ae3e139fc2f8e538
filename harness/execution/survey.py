"""What can only be known with torch at hand: the device, and whether every kind of trial can be trained at all."""

import os
import platform
import socket
import time
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch

from harness.errors import HarnessError, MachineError, SuiteError, lookup
from harness.execution.messages import Survey, Surveyed
from harness.loader import SuiteFile, load_suite
from harness.plan import Cohort, plan, shape
from harness.training.datasets import DATASETS, Dataset, load_dataset, save_for_report
from harness.training.fusion import fuse
from harness.training.inits import INITS
from harness.training.loop import train
from harness.training.models import MODELS, build
from harness.training.optim import OPTIMIZERS, SCHEDULES
from harness.training.program import epoch_length, evaluation_steps, prepare, total_steps
from harness.trial import Trial

MODE = "vmap"  # how cohorts are fused; bits depend on it
PROBE_STEPS = 4


def survey(job: Survey) -> Surveyed:
    """Resolve the device and try each kind of trial on two examples; SuiteError or MachineError where that fails."""
    device = resolve_device(job.device)
    suite = load_suite(job.suite)
    cohorts = plan(suite.trials(device=device))
    datasets = {name: _dataset(name, suite) for name in dict.fromkeys(c.trials[0].dataset for c in cohorts)}
    for cohort in cohorts:
        _check_values(cohort)
    for cohort in {shape(c.trials[0]): c for c in cohorts}.values():
        _try(cohort.trials[0], datasets[cohort.trials[0].dataset], suite)
    for dataset in datasets.values():
        save_for_report(dataset, job.data)
    seconds = {c.id: _measure(c, datasets[c.trials[0].dataset], suite) for c in cohorts} if job.measure else {}
    return Surveyed(
        device=device,
        fingerprint=fingerprint(torch.device(device)),
        machine=machine(torch.device(device)),
        seconds=seconds,
    )


def resolve_device(name: str) -> str:
    """The device that the name stands for; "auto" is the best there is. MachineError where this machine lacks it."""
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    found = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind not in found or (index and not index.isdigit()):
        raise SuiteError(f"unknown device {name!r}; choose from: auto, {', '.join(found)}, cuda:0, cuda:1, ...")
    if int(index or 0) >= found[kind]:
        raise MachineError(
            f"device {name!r} is not on this machine (it has {found[kind]} of {kind}); try --device auto"
        )
    return f"{kind}:{index or 0}" if kind == "cuda" else kind


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
        "mode": MODE,
    }


def machine(device: torch.device) -> dict[str, Any]:
    """Where a result comes from: an allow-list, never all of the environment."""
    return {
        "host": socket.gethostname(),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
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
    try:
        return load_dataset(name, suite.path.parent, suite.suite.functions)
    except HarnessError:
        raise
    except Exception as error:  # a function of the suite's own may raise anything
        raise SuiteError(f"dataset {name!r} can't be loaded: {_line(error)}") from error


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _check_values(cohort: Cohort) -> None:
    """Names that differ within a cohort; all others are tried on its first trial."""
    for init in {trial.init for trial in cohort.trials}:
        lookup(INITS, init, "init")


def _try(trial: Trial, dataset: Dataset, suite: SuiteFile) -> None:
    """Build one model and let two examples through it, as they will go in training."""
    lookup(OPTIMIZERS, trial.optimizer, "optimizer")
    lookup(SCHEDULES, trial.schedule, "schedule")
    if trial.optimizer != "sgd" and trial.momentum:
        raise SuiteError(f"momentum is of sgd; with {trial.optimizer} it must be 0.0, got {trial.momentum}")
    resolve_device(trial.device)
    if trial.world_size > 1:
        raise MachineError(f"world_size={trial.world_size}: training over several ranks is not there yet; use 1")
    epoch_length(trial, dataset)
    functions = suite.suite.functions
    if trial.model in functions and trial.model.partition("-")[0] in MODELS:
        raise SuiteError(f"a model of the suite's own can't be called {trial.model!r}: there is one already")
    model = build(trial, dataset.inputs, dataset.classes, functions)
    two = torch.from_numpy(dataset.x["train"][:2])
    try:
        out = fuse([model], torch.device("cpu"))(two, shared=True)
    except HarnessError:
        raise
    except Exception as error:  # a model of the suite's own may raise anything
        raise SuiteError(f"model {trial.model!r} with norm {trial.norm!r} can't be trained: {_line(error)}") from error
    if out.shape[1:] != (2, dataset.classes):
        wanted, got = (2, dataset.classes), tuple(out.shape[1:])
        raise SuiteError(f"model {trial.model!r} must turn two examples into scores of shape {wanted}, got {got}")


def _measure(cohort: Cohort, dataset: Dataset, suite: SuiteFile) -> float:
    """A guess at the seconds that a cohort takes, from a few of its steps, which are thrown away."""
    trial = cohort.trials[0]
    program = prepare(cohort.trials, dataset, torch.device(trial.device), suite.suite.functions)
    spent: dict[str, list[float]] = {"train": [], "eval": []}
    last = time.monotonic()
    for _, work in islice(train(program), PROBE_STEPS):
        now = time.monotonic()
        spent[work].append(now - last)
        last = now
    steps = total_steps(trial, dataset)
    return min(spent["train"]) * steps + min(spent["eval"]) * len(evaluation_steps(trial, steps))
