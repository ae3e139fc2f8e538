"""Ghost batch norm: batch norm over parts of a batch, as if each part were on a rank of its own (Hoffer et al. 2017).

The running statistics follow the mean of the parts' statistics, one move for each batch, so that a momentum means the
same for every number of parts. That is what ranks with statistics of their own have on average.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

Pair = tuple[Tensor | None, Tensor | None]


class GhostBatchNorm(_BatchNorm):
    """Batch norm over groups of `norm_batch` examples, in their order; what is left over joins the last group."""

    def __init__(self, channels: int, norm_batch: int, **options: Any) -> None:
        super().__init__(channels, **options)
        self.norm_batch = norm_batch

    def forward(self, x: Tensor) -> Tensor:
        """The normalised examples "N C ..."; in evaluation by the running statistics, where there are any."""
        running, affine = (self.running_mean, self.running_var), (self.weight, self.bias)
        if not self.training and self.running_mean is not None:
            return F.batch_norm(x, *running, *affine, False, 0.0, self.eps)
        share: Tensor | float = 0.0
        if self.training and self.running_mean is not None and self.num_batches_tracked is not None:
            batches = self.num_batches_tracked.add_(1)
            share = batches.to(self.running_mean.dtype).reciprocal() if self.momentum is None else self.momentum
        return normalise_groups(x, running, affine, norm_batch=self.norm_batch, eps=self.eps, share=share)


def normalise_groups(
    x: Tensor, running: Pair, affine: Pair, *, norm_batch: int, eps: float, share: Tensor | float, dim: int = 0
) -> Tensor:
    """Batch norm of each group of `norm_batch` examples; the running statistics move by `share` of the way.

    The examples lie along the first dimension, "N C ...", or, with `dim` 2, along the last: "1 C N".
    """
    count = x.shape[dim]
    groups = max(1, count // norm_batch)
    even = (groups - 1) * norm_batch if groups * norm_batch != count else 0
    parts = [(x.narrow(dim, 0, even), groups - 1)] if even else []
    parts.append((x.narrow(dim, even, count - even), 1 if groups * norm_batch != count else groups))
    normalised = [_normalise_even(part, part_groups, eps, dim) for part, part_groups in parts]
    out = torch.cat([part for part, _, _ in normalised], dim) if even else normalised[0][0]
    with torch.no_grad():
        for i, statistic in enumerate(running):
            if statistic is not None:
                # "G C" of each part, "C G" of all, "C": along the first dimension torch adds up in an order that the
                # number of channels decides
                mean_of_groups = torch.cat([part[1 + i] for part in normalised]).T.contiguous().mean(1)
                statistic.lerp_(mean_of_groups.to(statistic.dtype), share)
    weight, bias = affine
    if weight is None or bias is None:
        return out
    per_channel = (-1, *[1] * (x.ndim - 2))
    return torch.addcmul(bias.view(per_channel), out, weight.view(per_channel))


def _normalise_even(x: Tensor, groups: int, eps: float, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Groups of one size less their means and over their deviations; means and unbiased variances, "G C" each."""
    size, channels = x.shape[dim] // groups, x.shape[1]
    if dim:
        # "1 C N" -> "1 CG N/G"
        flat = x.reshape(1, channels * groups, size)
    else:
        # "N C ..." -> "N/G GC ..."
        flat = x.reshape(groups, size, *x.shape[1:]).transpose(0, 1).reshape(size, -1, *x.shape[2:])
    out = F.batch_norm(flat, None, None, None, None, True, 0.0, eps)
    var, mean = torch.var_mean(flat.detach(), (0, *range(2, flat.ndim)))
    if dim:
        return out.view(x.shape), mean.view(channels, groups).T, var.view(channels, groups).T
    out = out.view(size, groups, *x.shape[1:]).transpose(0, 1).reshape(x.shape)
    return out, mean.view(groups, channels), var.view(groups, channels)
