"""Adam and what came of it."""

import math

import torch
from torch import Tensor

from harness.ensemble.optim.optimizer import BiasCorrections, Optimizer, OptimizerState
from harness.ensemble.optim.settings import Settings

BETAS, EPS = (0.9, 0.999), 1e-8  # of Adam, as in Kingma & Ba 2015


def _adamw(
    weight: Tensor, grad: Tensor, state: OptimizerState, settings: Settings, corrections: BiasCorrections
) -> None:
    """Loshchilov & Hutter 2019, algorithm 2."""
    weight.mul_(1 - settings.lr * settings.weight_decay)
    mean = state["mean"].lerp_(grad, 1 - BETAS[0])
    square = state["square"].mul_(BETAS[1]).addcmul_(grad, grad, value=1 - BETAS[1])
    mean_correction, root_correction = corrections
    weight.sub_(settings.lr / mean_correction * mean / (square.sqrt() / root_correction + EPS))


def _adam_corrections(step: int) -> tuple[float, ...]:
    """How much of the mean gradient, and of the root of the mean square, is there after a step."""
    return 1 - BETAS[0] ** (step + 1), math.sqrt(1 - BETAS[1] ** (step + 1))


ADAMW = Optimizer(
    update=_adamw,
    state_names=lambda trials: ("mean", "square"),
    corrections=_adam_corrections,
    torch_optimizer=lambda parameters, trial: torch.optim.AdamW(parameters, trial.lr, BETAS, EPS, trial.weight_decay),
    torch_state={"mean": "exp_avg", "square": "exp_avg_sq"},
    torch_counts_steps=True,
    compiled_rule=1,
)
