"""Batch renormalisation: batch norm that trains on what it evaluates with (Ioffe 2017).

The statistics of a batch are corrected by r and d to what the running ones would give. Both are bounded, and constants
to the gradient. For the first batches the bounds allow no correction, which is batch norm, and then they widen: a
function of the number of batches that the layer has counted, so that a run which is resumed goes on to the bit.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

# Section 4: 5,000 steps of batch norm, r at its bound after 40,000 steps, d after 25,000.
R_RAMP, D_RAMP = 8, 5  # end of the widening, in multiples of the steps of batch norm

Limits = tuple[Tensor, Tensor]  # rmax, dmax


class BatchRenorm(_BatchNorm):
    """Algorithm 1 of the paper; without running statistics, batch norm."""

    def __init__(self, channels: int, *, rmax: float, dmax: float, warmup_batches: int, **options: Any) -> None:
        super().__init__(channels, **options)
        self.rmax, self.dmax, self.warmup_batches = rmax, dmax, warmup_batches

    def forward(self, x: Tensor) -> Tensor:
        """The normalised examples "N C ..."; in evaluation by the running statistics, where there are any."""
        affine, mean, var = (self.weight, self.bias), self.running_mean, self.running_var
        if mean is None or var is None or self.num_batches_tracked is None:
            return F.batch_norm(x, None, None, *affine, True, 0.0, self.eps)
        if not self.training:
            return F.batch_norm(x, mean, var, *affine, False, 0.0, self.eps)
        limits = self.limits(self.num_batches_tracked.to(mean.dtype))
        batches = self.num_batches_tracked.add_(1)
        share = batches.to(mean.dtype).reciprocal() if self.momentum is None else self.momentum
        return renormalise(x, (mean, var), affine, limits=limits, share=share, eps=self.eps)

    def limits(self, batches: Tensor) -> Limits:
        """The bounds of r and d after so many batches."""
        if not self.warmup_batches:
            return torch.full_like(batches, self.rmax), torch.full_like(batches, self.dmax)
        done = batches / self.warmup_batches - 1
        r_share, d_share = ((done / (ramp - 1)).clamp(0, 1) for ramp in (R_RAMP, D_RAMP))
        return 1 + (self.rmax - 1) * r_share, self.dmax * d_share

    def extra_repr(self) -> str:
        """What it was made with."""
        settings = ("eps", "momentum", "affine", "rmax", "dmax", "warmup_batches")
        return f"{self.num_features}, {', '.join(f'{name}={getattr(self, name)}' for name in settings)}"


def renormalise(
    x: Tensor,
    running: tuple[Tensor, Tensor],
    affine: tuple[Tensor | None, Tensor | None],
    *,
    limits: Limits,
    share: Tensor | float,
    eps: float,
) -> Tensor:
    """A batch "N C ..." renormalised; its running statistics move by `share` of the way, the deviation as such.

    Limits and share are numbers or "C".
    """
    mean, var = running
    batch_mean, batch_var = torch.zeros_like(mean), torch.zeros_like(var)
    # With a momentum of 1 the statistics of this batch are what comes back, the variance as that of a sample.
    out = F.batch_norm(x, batch_mean, batch_var, None, None, True, 1.0, eps)
    with torch.no_grad():
        count = x.numel() // x.shape[1]
        deviation, batch_deviation = (var + eps).sqrt(), (batch_var * ((count - 1) / count) + eps).sqrt()
        rmax, dmax = limits
        r = (batch_deviation / deviation).clamp(1 / rmax, rmax)
        d = ((batch_mean - mean) / deviation).clamp(-dmax, dmax)
        mean.add_((batch_mean - mean) * share)
        var.copy_((deviation + (batch_deviation - deviation) * share).square() - eps)
    weight, bias = affine
    scale, shift = (r, d) if weight is None or bias is None else (weight * r, torch.addcmul(bias, weight, d))
    per_channel = (-1, *[1] * (x.ndim - 2))
    return torch.addcmul(shift.view(per_channel), out, scale.view(per_channel))
