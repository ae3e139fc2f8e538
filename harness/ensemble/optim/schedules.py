"""How learning rates move: a linear warm-up, then a schedule.

To add one: its entry in SCHEDULES, with torch's own beside it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    StepLR,
)

from harness.ensemble.optim.own_schedules import own_schedule
from harness.errors import lookup, name_is_taken
from harness.spec.trial import Trial

RISE, START, END = 0.3, 1 / 25, 1 / 25 / 1e4  # of one_cycle, as Smith & Topin 2018 in torch's defaults

Factors = Callable[[int], float]  # steps done -> factor on lr


@dataclass(frozen=True, slots=True)
class Schedule:
    """How the learning rate moves after the warm-up, and torch's scheduler that moves it so, which tests hold it to."""

    factor: Callable[[int, int, Trial], float]  # steps done, of how many -> factor on lr
    torch_scheduler: Callable[[torch.optim.Optimizer, int, Trial], LRScheduler]  # for so many steps


def _one_cycle(done: int, steps: int) -> float:
    """Half a cosine up to lr, and half of one from there to almost nothing at the last step."""
    top, last = RISE * steps - 1, steps - 1
    if done <= top:
        return _half_cosine(START, 1.0, done / top)
    return _half_cosine(1.0, END, (done - top) / (last - top))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _inverse_sqrt(done: int, trial: Trial) -> float:
    """Vaswani et al. 2017, equation 3, in units of its largest value: after the warm-up as the root of the step."""
    return math.sqrt(max(1, trial.warmup_steps) / (trial.warmup_steps + done + 1))


SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule(
        lambda done, steps, trial: 1.0,
        lambda optimizer, steps, trial: ConstantLR(optimizer, factor=1.0),
    ),
    "cosine": Schedule(  # Loshchilov & Hutter 2017
        lambda done, steps, trial: 0.5 * (1 + math.cos(math.pi * done / steps)),
        lambda optimizer, steps, trial: CosineAnnealingLR(optimizer, T_max=steps),
    ),
    "step": Schedule(
        lambda done, steps, trial: trial.decay_factor ** (done // (trial.decay_every or steps)),
        lambda optimizer, steps, trial: StepLR(optimizer, trial.decay_every or steps, trial.decay_factor),
    ),
    "linear": Schedule(
        lambda done, steps, trial: 1 - done / steps,
        lambda optimizer, steps, trial: LinearLR(optimizer, 1.0, 0.0, total_iters=steps),
    ),
    "exponential": Schedule(
        lambda done, steps, trial: trial.decay_factor ** (done / (trial.decay_every or steps)),
        lambda optimizer, steps, trial: ExponentialLR(
            optimizer, trial.decay_factor ** (1 / (trial.decay_every or steps))
        ),
    ),
    "one_cycle": Schedule(
        lambda done, steps, trial: _one_cycle(done, steps),
        lambda optimizer, steps, trial: OneCycleLR(optimizer, max_lr=1.0, total_steps=steps, cycle_momentum=False),
    ),
    "inverse_sqrt": Schedule(
        lambda done, steps, trial: _inverse_sqrt(done, trial),
        lambda optimizer, steps, trial: LambdaLR(optimizer, lambda step: (step + 1) ** -0.5),
    ),
}


def lr_factors(trial: Trial, steps: int, functions: Mapping[str, Callable[..., Any]]) -> Factors:
    """The factor on lr in the update after so many of `steps` updates: a linear warm-up, then the schedule.

    `functions` has the schedule where it is the suite's own.
    """
    warmup, rest = trial.warmup_steps, max(1, steps - trial.warmup_steps)
    if trial.schedule in functions:
        after = own_schedule(trial.schedule, functions[trial.schedule], rest)
    else:
        factor = lookup(SCHEDULES, trial.schedule, "schedule").factor

        def after(done: int) -> float:
            return factor(done, rest, trial)

    return lambda step: (step + 1) / warmup if step < warmup else after(step - warmup)


def check_schedule(trial: Trial, steps: int, functions: Mapping[str, Callable[..., Any]]) -> None:
    """SuiteError where the schedule is unknown, or no function of the step."""
    if trial.schedule in functions and trial.schedule in SCHEDULES:
        raise name_is_taken("a schedule", trial.schedule)
    lr_factors(trial, steps, functions)
