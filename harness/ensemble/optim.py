"""Optimizers of a whole cohort: torch's update rules, with one value per model for every setting.

To add an optimizer: a function that updates one stacked parameter in place, and an entry in OPTIMIZERS. To add a
schedule: an entry in SCHEDULES, the factor on the learning rate after a number of steps.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

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
    decay_mask: bool  # whether any model has a weight decay
    nesterov: bool

    @classmethod
    def from_trials(cls, trials: Sequence[Trial], like: Tensor, *, norm: bool) -> "Settings":
        """The settings of these trials, on the device, in the type and dimensions of a weight, a norm's or not."""
        decays = [t.weight_decay if t.decay_norms or not norm else 0.0 for t in trials]
        columns = {
            name: per_model(like.new_tensor(values), like.ndim)
            for name, values in {
                "lr": [t.lr for t in trials],
                "momentum": [t.momentum for t in trials],
                "weight_decay": decays,
            }.items()
        }
        return cls(**columns, decay_mask=any(decays), nesterov=trials[0].nesterov)

    def scale_lr(self, factor: float | Tensor) -> "Settings":
        """The same with all learning rates multiplied."""
        is_one = isinstance(factor, float) and factor == 1.0
        return self if is_one else replace(self, lr=self.lr * factor)


ParamGroupKey = tuple[int, bool]  # of a weight: its dimensions, and whether it belongs to a norm layer


def settings_of(
    trials: Sequence[Trial], weights: Mapping[str, Tensor], norms: frozenset[str]
) -> dict[ParamGroupKey, Settings]:  # fmt: skip
    """What the updates of these weights read, kind by kind; `norms` are the names of those in norm layers."""
    return {
        (weight.ndim, name in norms): Settings.from_trials(trials, weight, norm=name in norms)
        for name, weight in weights.items()
    }  # fmt: skip


def max_grad_norms(trials: Sequence[Trial], like: Tensor) -> Tensor | None:
    """The largest gradient norm of each model, "M", infinite where it has no limit; None where none has."""
    limits = [math.inf if t.max_grad_norm is None else t.max_grad_norm for t in trials]
    return None if set(limits) == {math.inf} else like.new_tensor(limits)


def clip_grad_norm(grads: Mapping[str, Tensor], max_norms: Float[Tensor, "M"]) -> dict[str, Tensor]:
    """The gradients, those of a model scaled down where their norm, over all of its weights, is above its limit.

    As torch.nn.utils.clip_grad_norm_ has it (Pascanu et al. 2013), for each model by itself.
    """
    norms = torch.stack([torch.linalg.vector_norm(grad.flatten(1), dim=1) for grad in grads.values()])
    factor = (max_norms / (torch.linalg.vector_norm(norms, dim=0) + CLIP_EPS)).clamp(max=1.0)
    factor = factor.masked_fill(max_norms.isinf(), 1.0)  # also where the gradient is infinite
    return {name: grad * per_model(factor, grad.ndim) for name, grad in grads.items()}


OptimizerState = Mapping[str, Tensor]  # what the optimizer remembers of one parameter
BiasCorrections = Sequence[float | Tensor]  # what an update reads of the step: a number, or a tensor that holds it
Update = Callable[[Tensor, Tensor, OptimizerState, Settings, BiasCorrections], None]


def _sgd(weight: Tensor, grad: Tensor, slots: OptimizerState, settings: Settings, _: BiasCorrections) -> None:
    """Sutskever et al. 2013 in torch's form: the momentum buffer gathers gradients, lr multiplies it."""
    if settings.decay_mask:
        grad = grad + settings.weight_decay * weight
    if slots:
        velocity = slots["velocity"].mul_(settings.momentum).add_(grad)
        grad = grad + settings.momentum * velocity if settings.nesterov else velocity
    weight.addcmul_(settings.lr, grad, value=-1)


def _adamw(
    weight: Tensor, grad: Tensor, slots: OptimizerState, settings: Settings, corrections: BiasCorrections
) -> None:
    """Loshchilov & Hutter 2019, algorithm 2."""
    weight.mul_(1 - settings.lr * settings.weight_decay)
    mean = slots["mean"].lerp_(grad, 1 - BETAS[0])
    square = slots["square"].mul_(BETAS[1]).addcmul_(grad, grad, value=1 - BETAS[1])
    of_mean, of_root = corrections
    weight.sub_(settings.lr / of_mean * mean / (square.sqrt() / of_root + EPS))


def _bias_corrections(step: int) -> tuple[float, ...]:
    """How much of the mean gradient, and of the root of the mean square, is there after a step, counted from 0."""
    return 1 - BETAS[0] ** (step + 1), math.sqrt(1 - BETAS[1] ** (step + 1))


@dataclass(frozen=True, slots=True)
class Optimizer:
    """An update rule, what it remembers of each parameter (by name, zero at first), and what it reads of a step."""

    update: Update
    slots: Callable[[Sequence[Trial]], tuple[str, ...]]
    corrections: Callable[[int], tuple[float, ...]] = lambda step: ()


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer(_sgd, lambda trials: ("velocity",) if any(t.momentum for t in trials) else ()),
    "adamw": Optimizer(_adamw, lambda trials: ("mean", "square"), _bias_corrections),
}

TORCH_OPTIMIZERS: dict[
    str, tuple[Callable[..., torch.optim.Optimizer], dict[str, str]]
] = {  # and torch's names for the slots
    "sgd": (
        lambda weights, trial: torch.optim.SGD(
            weights, trial.lr, trial.momentum, weight_decay=trial.weight_decay, nesterov=trial.nesterov
        ),
        {"velocity": "momentum_buffer"},
    ),
    "adamw": (
        lambda weights, trial: torch.optim.AdamW(weights, trial.lr, BETAS, EPS, trial.weight_decay),
        {"mean": "exp_avg", "square": "exp_avg_sq"},
    ),
}

SCHEDULES: dict[str, Callable[[int, int, Trial], float]] = {  # steps done after the warm-up, of how many -> factor
    "constant": lambda done, of, trial: 1.0,
    "cosine": lambda done, of, trial: 0.5 * (1 + math.cos(math.pi * done / of)),  # Loshchilov & Hutter 2017
    "step": lambda done, of, trial: trial.decay_factor ** (done // (trial.decay_every or of)),
}


def lr_factor(trial: Trial, step: int, steps: int) -> float:
    """The factor on lr in the update after `step` of `steps` updates: a linear warm-up, then the schedule."""
    if step < trial.warmup_steps:
        return (step + 1) / trial.warmup_steps
    schedule = lookup(SCHEDULES, trial.schedule, "schedule")
    return schedule(step - trial.warmup_steps, max(1, steps - trial.warmup_steps), trial)


@torch.no_grad()
def update(
    optimizer: Optimizer,
    weights: Mapping[str, Tensor],
    grads: Mapping[str, Tensor],
    slots: Mapping[str, Mapping[str, Tensor]],
    settings: Mapping[str, Settings],
    corrections: BiasCorrections,
) -> None:
    """One step of every model, in place."""
    for name, weight in weights.items():
        optimizer.update(weight, grads[name], slots[name], settings[name], corrections)
