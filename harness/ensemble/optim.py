"""Optimizers of a cohort: torch's update rules, with one value per model for every setting.

To add an optimizer: one entry in OPTIMIZERS, with a function that updates one stacked parameter in place. To add a
schedule: one entry in SCHEDULES.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, StepLR

from harness.errors import lookup
from harness.spec.trial import Trial

BETAS, EPS = (0.9, 0.999), 1e-8  # of Adam, as in Kingma & Ba 2015
CLIP_EPS = 1e-6  # torch's


def per_model(values: Float[Tensor, "M"], dims: int) -> Tensor:
    """Shape one value per model so that it broadcasts over weights of that many dimensions."""
    return values[(..., *[None] * (dims - 1))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the update of a weight of M models reads, one value for each, shaped to broadcast over the weight."""

    lr: Float[Tensor, "M ..."]
    momentum: Float[Tensor, "M ..."]
    weight_decay: Float[Tensor, "M ..."]
    any_decay: bool  # whether any model has a weight decay
    nesterov: bool

    @classmethod
    def from_trials(cls, trials: Sequence[Trial], weight: Tensor, *, is_norm: bool) -> "Settings":
        """The settings of these trials for such a weight "M ...", on its device, in its type."""
        decays = [trial.weight_decay if trial.decay_norms or not is_norm else 0.0 for trial in trials]
        columns = {
            "lr": [trial.lr for trial in trials],
            "momentum": [trial.momentum for trial in trials],
            "weight_decay": decays,
        }
        tensors = {name: per_model(weight.new_tensor(values), weight.ndim) for name, values in columns.items()}
        return cls(**tensors, any_decay=any(decays), nesterov=trials[0].nesterov)

    def scale_lr(self, factor: float | Tensor) -> "Settings":
        """The same with all learning rates multiplied."""
        is_one = isinstance(factor, float) and factor == 1.0
        return self if is_one else replace(self, lr=self.lr * factor)


ParamGroupKey = tuple[int, torch.dtype, bool]  # of a weight: dimensions, type, whether it belongs to a norm layer


def param_group_key(name: str, weight: Tensor, norm_params: frozenset[str]) -> ParamGroupKey:
    """The group of a weight "M ..." of that name."""
    return weight.ndim, weight.dtype, name in norm_params


def settings_of(
    trials: Sequence[Trial], weights: Mapping[str, Tensor], norm_params: frozenset[str]
) -> dict[ParamGroupKey, Settings]:
    """What the updates of these weights read; `norm_params` are the names of those in norm layers."""
    return {
        param_group_key(name, weight, norm_params): Settings.from_trials(trials, weight, is_norm=name in norm_params)
        for name, weight in weights.items()
    }


def max_grad_norms(trials: Sequence[Trial], weight: Tensor) -> Float[Tensor, "M"] | None:
    """The largest gradient norm of each model, infinite where it has no limit; None where none has.

    It is on the device and in the type of a weight.
    """
    limits = [math.inf if trial.max_grad_norm is None else trial.max_grad_norm for trial in trials]
    return None if set(limits) == {math.inf} else weight.new_tensor(limits)


def clip_grad_norm(grads: Mapping[str, Tensor], max_norms: Float[Tensor, "M"]) -> dict[str, Tensor]:
    """The gradients, those of a model scaled down where their norm, over all of its weights, is above its limit.

    As torch.nn.utils.clip_grad_norm_ has it (Pascanu et al. 2013), for each model by itself.
    """
    # "M W": of each weight, then "M": over all weights. The models come first, for along the first dimension torch adds
    # up in an order that their number decides.
    norms = torch.stack([torch.linalg.vector_norm(grad.flatten(1), dim=1) for grad in grads.values()], 1)
    factor = (max_norms / (torch.linalg.vector_norm(norms, dim=1) + CLIP_EPS)).clamp(max=1.0)
    factor = factor.masked_fill(max_norms.isinf(), 1.0)  # also where the gradient is infinite
    return {name: grad * per_model(factor, grad.ndim).to(grad.dtype) for name, grad in grads.items()}


OptimizerState = Mapping[str, Tensor]  # what the optimizer remembers of one parameter, by name
BiasCorrections = Sequence[float | Tensor]  # what an update reads of the step: numbers, or tensors that hold them
Update = Callable[[Tensor, Tensor, OptimizerState, Settings, BiasCorrections], None]
Parameters = Iterable[nn.Parameter] | Iterable[dict[str, Any]]  # or groups of parameters, as torch has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """An update rule, what it remembers of each parameter, and torch's optimizer of the same rule.

    The latter goes on from an exported checkpoint, and is what tests hold the rule to.
    """

    update: Update  # of one parameter "M ...", in place
    state_names: Callable[[Sequence[Trial]], tuple[str, ...]]  # what it remembers of a parameter; zero at first
    corrections: Callable[[int], tuple[float, ...]] = lambda step: ()  # what it reads of a step, counted from 0
    has_momentum: bool = False  # whether it reads the trial's momentum and nesterov
    torch_optimizer: Callable[[Parameters, Trial], torch.optim.Optimizer]
    torch_state: Mapping[str, str]  # our name of what it remembers -> torch's
    torch_counts_steps: bool = False  # whether torch keeps the number of steps beside it
    compiled_rule: int | None = None  # its number in native/kernels.cpp, whose slots are `state_names`; None: not there


def _sgd(weight: Tensor, grad: Tensor, state: OptimizerState, settings: Settings, _: BiasCorrections) -> None:
    """Sutskever et al. 2013 in torch's form: the momentum buffer gathers gradients, lr multiplies it."""
    if settings.any_decay:
        grad = grad + settings.weight_decay * weight
    if state:
        velocity = state["velocity"].mul_(settings.momentum).add_(grad)
        grad = grad + settings.momentum * velocity if settings.nesterov else velocity
    weight.addcmul_(settings.lr, grad, value=-1)


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


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer(
        update=_sgd,
        state_names=lambda trials: ("velocity",) if any(trial.momentum for trial in trials) else (),
        has_momentum=True,
        torch_optimizer=lambda parameters, trial: torch.optim.SGD(
            parameters, trial.lr, trial.momentum, weight_decay=trial.weight_decay, nesterov=trial.nesterov
        ),
        torch_state={"velocity": "momentum_buffer"},
        compiled_rule=0,
    ),
    "adamw": Optimizer(
        update=_adamw,
        state_names=lambda trials: ("mean", "square"),
        corrections=_adam_corrections,
        torch_optimizer=lambda parameters, trial: torch.optim.AdamW(
            parameters, trial.lr, BETAS, EPS, trial.weight_decay
        ),
        torch_state={"mean": "exp_avg", "square": "exp_avg_sq"},
        torch_counts_steps=True,
        compiled_rule=1,
    ),
}


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


@torch.no_grad()
def update(
    optimizer: Optimizer,
    weights: Mapping[str, Tensor],
    grads: Mapping[str, Tensor],
    state: Mapping[str, OptimizerState],
    settings: Mapping[str, Settings],
    corrections: BiasCorrections,
) -> None:
    """One step of every model, in place; all but `corrections` by the name of the weight."""
    for name, weight in weights.items():
        optimizer.update(weight, grads[name], state[name], settings[name], corrections)
