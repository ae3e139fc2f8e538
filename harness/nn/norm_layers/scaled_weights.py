"""Scaled weight standardisation: layers that keep the variance of what they get, so that no norm is needed.

Brock, De & Smith 2021, equation 3, with the gains of each output channel that their networks learn.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.errors import lookup
from harness.spec.trial import Trial

MIN_VARIANCE = 1e-4  # of the weights of a channel times their number, as the authors' code has it
GAINS = {  # what brings the variance of an activation of normal numbers back to 1: the authors' numbers
    "relu": 1.7139588594436646,
    "sigmoid": 4.803835391998291,
    "tanh": 1.5939117670059204,
    "gelu": 1.7015043497085571,
    "silu": 1.7881293296813965,
}


def scaled(weight: Tensor, gain: Tensor | None, factor: float) -> Tensor:
    """The weights of each output channel, "O ...", with mean 0 and a variance of factor² over the fan-in."""
    rows = weight.flatten(1)
    var, mean = torch.var_mean(rows, 1, correction=0, keepdim=True)
    scale = factor * (var * rows.shape[1]).clamp(min=MIN_VARIANCE).rsqrt()
    return ((rows - mean) * (scale if gain is None else scale * gain.unsqueeze(1))).view_as(weight)


class _Scaled:
    """What the layers share: the gain that is learnt, where there is one, and that of the activation."""

    gain: Tensor | None
    factor: float


class ScaledLinear(_Scaled, nn.Linear):
    """A linear layer that uses its weights scaled."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, scaled(self.weight, self.gain, self.factor), self.bias)


class ScaledConv1d(_Scaled, nn.Conv1d):
    """A convolution of signals that uses its weights scaled."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self._conv_forward(x, scaled(self.weight, self.gain, self.factor), self.bias)
        return out


class ScaledConv2d(_Scaled, nn.Conv2d):
    """A convolution of images that uses its weights scaled."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self._conv_forward(x, scaled(self.weight, self.gain, self.factor), self.bias)
        return out


SCALED: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.Linear: ScaledLinear,
    nn.Conv1d: ScaledConv1d,
    nn.Conv2d: ScaledConv2d,
}


def scale_weights(model: nn.Module, trial: Trial) -> None:
    """Let all linear and convolution layers but the last use their weights scaled; the last gives the scores."""
    for layer in [layer for layer in model.modules() if type(layer) in SCALED][:-1]:
        weight: Tensor = layer.weight  # type: ignore[assignment]
        layer.__class__ = SCALED[type(layer)]  # parameters, names and initial values stay what they are
        layer.factor = lookup(GAINS, trial.activation, "activation of scaled_ws")  # type: ignore[assignment]
        layer.register_parameter("gain", nn.Parameter(weight.new_ones(len(weight))) if trial.norm_affine else None)
