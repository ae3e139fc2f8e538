"""How long a step takes in a cohort, by the backend that is chosen or by one that is named."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import rivals
import torch

from harness.data.datasets import load_dataset
from harness.data.settings import DataSettings
from harness.ensemble.ensemble import fuse
from harness.nn.models import build
from harness.spec.trial import Trial
from harness.training.loop import train
from harness.training.state import TrainState, init_state

CPU = torch.device("cpu")
DATA = {name: load_dataset(name, Path(), {}) for name in ("circles", "digits")}
CONTEXT = 32  # characters of a window
DATA["descriptions"] = load_dataset("descriptions", Path(), {}, DataSettings(task="sequence", context=CONTEXT))
STEPS = 150  # that are timed unless said


def seconds_of_step(state: TrainState, count: int) -> float:
    """Seconds of a training step over so many, the first piece of training and evaluations apart.

    A piece is what lies between two events: a step, or as many as a backend takes at once.
    """
    pieces, done, last = [], 0, time.perf_counter()
    for event in train(state):
        now = time.perf_counter()
        if event.step > done:
            pieces.append((now - last) / (event.step - done))
        done, last = event.step, now
        if done > count:
            break
    return statistics.median(pieces[1:] or pieces)


def cohort_step(
    trial: Trial,
    models: int,
    backend: str | None = None,
    count: int = STEPS,
    factories: Mapping[str, Callable[..., Any]] = rivals.NO_FACTORIES,
) -> float:
    """Microseconds of a model's step in a cohort, on one core."""
    data = DATA[trial.dataset]
    trials = [replace(trial, seed=seed, steps=count + 2) for seed in range(models)]
    state = init_state(trials, data, CPU, factories)
    if backend:
        modules = [build(t, data.input_shape, data.classes, factories) for t in trials]
        state = replace(state, ensemble=fuse(modules, data.input_shape, CPU, backend))
    return seconds_of_step(state, count) / models * 1e6


def tutorial_step(
    trial: Trial, count: int = STEPS, factories: Mapping[str, Callable[..., Any]] = rivals.NO_FACTORIES
) -> float:
    """Microseconds of a step of the tutorial's loop."""
    return rivals.tutorial(replace(trial, steps=count), DATA[trial.dataset], factories=factories) / count * 1e6
