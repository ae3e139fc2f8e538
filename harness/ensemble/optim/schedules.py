"""How learning rates move: a linear warm-up, then a schedule.

To add one: its entry in SCHEDULES, with torch's own beside it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, StepLR

from harness.errors import lookup
from harness.spec.trial import Trial


@dataclass(frozen=True, slots=True)
class Schedule:
    """How the learning rate moves after the warm-up, and torch's scheduler that moves it so, which tests hold it to."""

    factor: Callable[[int, int, Trial], float]  # steps done, of how many -> factor on lr
    torch_scheduler: Callable[[torch.optim.Optimizer, int, Trial], LRScheduler]  # for so many steps


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
}


def lr_factor(trial: Trial, step: int, steps: int) -> float:
    """The factor on lr in the update after `step` of `steps` updates: a linear warm-up, then the schedule."""
    if step < trial.warmup_steps:
        return (step + 1) / trial.warmup_steps
    schedule = lookup(SCHEDULES, trial.schedule, "schedule")
    return schedule.factor(step - trial.warmup_steps, max(1, steps - trial.warmup_steps), trial)
