"""Adam and what came of it."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from harness.ensemble.optim.optimizer import Optimizer, OptimizerState, Settings
from harness.spec.optimizer_args import Args

ADAM_ARGS = {"betas": (0.9, 0.999), "eps": 1e-8}  # as in Kingma & Ba 2015
TORCH_STATE = {"mean": "exp_avg", "square": "exp_avg_sq"}
PRODUCTS = 2**16  # of momenta that are multiplied at once
DOZAT_DECAY = 0.96  # of Nadam's momentum, to the power of momentum_decay times the step


def adam_numbers(args: Args) -> dict[str, float]:
    """The numbers that the update reads: 1 - beta is made in double precision."""
    beta1, beta2 = args["betas"]
    return {"rest1": 1 - beta1, "beta2": beta2, "rest2": 1 - beta2, "eps": args["eps"]}


def _moments(grad: Tensor, state: OptimizerState, settings: Settings) -> tuple[Tensor, Tensor]:
    """The running means of the gradient and of its square, moved on."""
    numbers = settings.numbers
    mean = state["mean"].lerp_(grad, numbers["rest1"])
    square = state["square"].mul_(numbers["beta2"]).addcmul_(numbers["rest2"] * grad, grad)
    return mean, square


def _step(weight: Tensor, grad: Tensor, state: OptimizerState, settings: Settings) -> None:
    mean, square = _moments(grad, state, settings)
    mean_correction, root_correction = settings.corrections
    root = square.sqrt() / root_correction + settings.numbers["eps"]
    weight.sub_(settings.lr / mean_correction * mean / root)


def _adam(weight: Tensor, grad: Tensor, state: OptimizerState, settings: Settings) -> None:
    """Kingma & Ba 2015, the weight decay in the gradient."""
    _step(weight, grad + settings.weight_decay * weight if settings.any_decay else grad, state, settings)


def _adamw(weight: Tensor, grad: Tensor, state: OptimizerState, settings: Settings) -> None:
    """Loshchilov & Hutter 2019, algorithm 2."""
    weight.mul_(1 - settings.lr * settings.weight_decay)
    _step(weight, grad, state, settings)


def adam_corrections(step: int, args: Args) -> tuple[float, ...]:
    """How much of the mean gradient, and of the root of the mean square, is there after a step."""
    beta1, beta2 = args["betas"]
    return 1 - beta1 ** (step + 1), math.sqrt(1 - beta2 ** (step + 1))


def _nadam(weight: Tensor, grad: Tensor, state: OptimizerState, settings: Settings) -> None:
    """Dozat 2016, as torch has it."""
    if settings.args["decoupled_weight_decay"]:
        weight.mul_(1 - settings.lr * settings.weight_decay)
    elif settings.any_decay:
        grad = grad + settings.weight_decay * weight
    mean, square = _moments(grad, state, settings)
    of_square, of_grad, of_mean = settings.corrections
    root = (square / of_square).sqrt() + settings.numbers["eps"]
    weight.sub_(settings.lr * (of_grad * grad + of_mean * mean) / root)


def _nadam_corrections(step: int, args: Args) -> tuple[float, ...]:
    beta1, beta2 = args["betas"]
    now, ahead = (_nadam_momentum(beta1, args["momentum_decay"], at) for at in (step + 1, step + 2))
    product = _momentum_product(beta1, args["momentum_decay"], step + 1)
    return 1 - beta2 ** (step + 1), (1 - now) / (1 - product), ahead / (1 - product * ahead)


def _nadam_momentum(beta1: float, momentum_decay: float, step: int) -> float:
    return beta1 * float(1 - 0.5 * DOZAT_DECAY ** (step * momentum_decay))


def _momentum_product(beta1: float, momentum_decay: float, steps: int) -> float:
    """The product of the momenta of the first steps."""
    block, last = divmod(steps, PRODUCTS)
    product: float = _products(beta1, momentum_decay, block)[last]
    return product


@cache
def _products(beta1: float, momentum_decay: float, block: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """The products up to each step of a block: one after the other, as torch multiplies them."""
    start = _products(beta1, momentum_decay, block - 1)[-1] if block else 1.0
    steps = range(block * PRODUCTS + 1, (block + 1) * PRODUCTS + 1)
    return np.cumprod([start, *(_nadam_momentum(beta1, momentum_decay, step) for step in steps)])


def step_count(steps: int, args: Args) -> Mapping[str, float]:  # noqa: ARG001
    """What torch keeps for each parameter where it counts the steps."""
    return {"step": float(steps)}


def _nadam_counts(steps: int, args: Args) -> Mapping[str, float]:
    product = _momentum_product(args["betas"][0], args["momentum_decay"], steps)
    return {"step": float(steps), "mu_product": product}


ADAMW = Optimizer(
    update=_adamw,
    args=ADAM_ARGS,
    numbers=adam_numbers,
    state_names=lambda trials: ("mean", "square"),
    corrections=adam_corrections,
    torch_class=torch.optim.AdamW,
    torch_state=TORCH_STATE,
    torch_counts=step_count,
    compiled_rule=1,
)

ADAM = replace(
    ADAMW,
    update=_adam,
    torch_class=torch.optim.Adam,
    compiled_rule=2,
)

NADAM = Optimizer(
    update=_nadam,
    args={**ADAM_ARGS, "momentum_decay": 4e-3, "decoupled_weight_decay": False},
    numbers=adam_numbers,
    state_names=lambda trials: ("mean", "square"),
    corrections=_nadam_corrections,
    torch_class=torch.optim.NAdam,
    torch_state=TORCH_STATE,
    torch_counts=_nadam_counts,
)
