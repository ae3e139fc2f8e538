"""What the update of a stacked weight reads: one value for each model of every setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from harness.spec.trial import Trial


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
