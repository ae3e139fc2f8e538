"""Batch norm over the batches of all ranks, on every device: torch's own SyncBatchNorm runs on CUDA alone.

Each rank tells the others mean, squared deviations and number of its values, in double precision, and all combine them
in the order of the ranks, so that all hold the same bits. The backward pass sums two numbers a channel over the ranks.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm


class SyncBatchNorm(_BatchNorm):
    """Batch norm whose statistics in training are those of all ranks' examples together.

    A rank may have fewer examples than another, or none. In evaluation, and where there is but one rank, nothing is
    communicated. `process_group` is the default group unless it is set.
    """

    process_group: Any = None

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"a batch norm takes batches of vectors or images, got shape {tuple(input.shape)}")

    def forward(self, x: Tensor) -> Tensor:
        """The normalised examples "N C ..." of this rank."""
        self._check_input_dim(x)
        if not (self.training and dist.is_initialized() and dist.get_world_size(self.process_group) > 1):
            return super().forward(x)
        whole = _Synchronise.apply(x, self.weight, self.bias, self.eps, self.process_group)  # type: ignore[no-untyped-call]
        out, mean, var, count = whole
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            seen = self.num_batches_tracked.add_(1)
            share = seen.double().reciprocal() if self.momentum is None else self.momentum
            for running, now in ((self.running_mean, mean), (self.running_var, var * (count / (count - 1)))):
                running.copy_(torch.lerp(running.double(), now, share))
        return out  # type: ignore[no-any-return]


class _Synchronise(torch.autograd.Function):
    """Ioffe & Szegedy 2015, algorithm 1, over the examples of all ranks."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, group: Any
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, squares, count = _combined(x, group)
        if count <= 1:  # of all ranks, so that every one of them raises
            raise ValueError(f"Expected more than 1 value per channel when training, got {int(count)} on all ranks")
        var = squares / count
        inverse = (var + eps).rsqrt()
        kind = torch.promote_types(x.dtype, torch.float32)
        ctx.save_for_backward(x, weight, mean, inverse, count)
        ctx.group, ctx.has_bias = group, bias is not None
        out = _normal(x, mean, inverse).to(kind)
        if weight is not None and bias is not None:
            out = torch.addcmul(_wide(bias.to(kind), x), out, _wide(weight.to(kind), x))
        ctx.mark_non_differentiable(mean, var, count)
        return out.to(x.dtype), mean, var, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        """The gradient of x needs sums over all ranks; those of weight and bias are this rank's part alone."""
        x, weight, mean, inverse, count = ctx.saved_tensors
        kind, dims = torch.promote_types(x.dtype, torch.float32), _all_but_channels(x)
        grad, normal = grad.to(kind), _normal(x, mean, inverse)
        sums = torch.stack([grad.sum(dims, dtype=torch.float64), (grad * normal).sum(dims)])
        own = sums.to(kind, copy=True)
        dist.all_reduce(sums, group=ctx.group)
        total, along = sums / count
        scale = inverse if weight is None else inverse * weight
        before = (grad - _wide(total, x) - normal * _wide(along, x)) * _wide(scale, x)
        return before.to(x.dtype), own[1] if weight is not None else None, own[0] if ctx.has_bias else None, None, None


def _combined(x: Tensor, group: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and sum of squared deviations of each channel, and the number of its values, over all ranks.

    Pairs are put together as in Chan, Golub & LeVeque 1983, equation 1.5.
    """
    channels, dims, count = x.shape[1], _all_but_channels(x), x.numel() // x.shape[1]
    own_mean = x.sum(dims, dtype=torch.float64) / max(1, count)
    own_squares = (x.double() - _wide(own_mean, x)).square_().sum(dims)
    own = torch.cat([own_mean, own_squares, own_mean.new_tensor([count])])
    ranks = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(ranks, own, group=group)
    (mean, squares), total = own.new_zeros(2, channels), own.new_zeros(())
    for rank in ranks:
        its_mean, its_squares, its_count = rank[:channels], rank[channels:-1], rank[-1]
        both = total + its_count
        share = torch.where(both > 0, its_count / both.clamp_min(1), 0.0)
        apart = its_mean - mean
        squares = squares + its_squares + apart.square() * total * share
        mean, total = mean + apart * share, both
    return mean, squares, total


def _normal(x: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
    """The examples less their mean and over their deviation, in double precision, where nothing is lost to a mean."""
    return (x.double() - _wide(mean, x)).mul_(_wide(inverse, x))


def _all_but_channels(x: Tensor) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _wide(channels: Tensor, x: Tensor) -> Tensor:
    """One value per channel, shaped to broadcast over the examples."""
    return channels.view(-1, *[1] * (x.ndim - 2))
