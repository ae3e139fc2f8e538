"""The gradients of each model, scaled down where they are too large."""

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from harness.ensemble.optim.optimizer import per_model
from harness.spec.trial import Trial

CLIP_EPS = 1e-6  # torch's


def limits_of(trials: Sequence[Trial], field: str) -> list[float]:
    """What each trial says at most in this field, infinite where it has no limit."""
    return [math.inf if (limit := getattr(trial, field)) is None else limit for trial in trials]


def limits_like(trials: Sequence[Trial], field: str, weight: Tensor) -> Float[Tensor, "M"] | None:
    """The same on the device and in the type of a weight; None where no trial has a limit."""
    limits = limits_of(trials, field)
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
