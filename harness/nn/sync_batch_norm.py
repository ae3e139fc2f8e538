"""Batch norm over the batches of all ranks, on every device: torch's own SyncBatchNorm runs on CUDA alone.

Each rank gathers mean, sum of squared deviations and number of values of all ranks, in double precision, and combines
them in the order of the ranks, so that all have the same bits. The backward pass sums two numbers a channel over the
ranks.
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
        outputs = _Synchronise.apply(x, self.weight, self.bias, self.eps, self.process_group)  # type: ignore[no-untyped-call]
        out, mean, var, count = outputs
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            batches = self.num_batches_tracked.add_(1)
            share = batches.double().reciprocal() if self.momentum is None else self.momentum
            for running, batch in ((self.running_mean, mean), (self.running_var, var * (count / (count - 1)))):
                running.copy_(torch.lerp(running.double(), batch, share))
        return out  # type: ignore[no-any-return]


class _Synchronise(torch.autograd.Function):
    """Ioffe & Szegedy 2015, algorithm 1, over the examples of all ranks."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, group: Any
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, squares, count = _combine_ranks(x, group)
        if count <= 1:  # of all ranks, so that every one of them raises
            raise ValueError(f"Expected more than 1 value per channel when training, got {int(count)} on all ranks")
        var = squares / count
        inverse = (var + eps).rsqrt()
        dtype = torch.promote_types(x.dtype, torch.float32)
        ctx.save_for_backward(x, weight, mean, inverse, count)
        ctx.group, ctx.has_bias = group, bias is not None
        out = _normalised(x, mean, inverse).to(dtype)
        if weight is not None and bias is not None:
            out = torch.addcmul(_per_channel(bias.to(dtype), x), out, _per_channel(weight.to(dtype), x))
        ctx.mark_non_differentiable(mean, var, count)
        return out.to(x.dtype), mean, var, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        """The gradient of x needs sums over all ranks; those of weight and bias are this rank's part alone."""
        x, weight, mean, inverse, count = ctx.saved_tensors
        dtype, dims = torch.promote_types(x.dtype, torch.float32), _all_but_channels(x)
        grad, normal = grad.to(dtype), _normalised(x, mean, inverse)
        sums = torch.stack([grad.sum(dims, dtype=torch.float64), (grad * normal).sum(dims)])
        local_sums = sums.to(dtype, copy=True)
        dist.all_reduce(sums, group=ctx.group)
        # "C": the means of the gradient, and of the gradient times the normalised examples, over all ranks
        mean_grad, projection = sums / count
        scale = inverse if weight is None else inverse * weight
        grad_x = (grad - _per_channel(mean_grad, x) - normal * _per_channel(projection, x)) * _per_channel(scale, x)
        grad_weight = local_sums[1] if weight is not None else None
        return grad_x.to(x.dtype), grad_weight, local_sums[0] if ctx.has_bias else None, None, None


def _combine_ranks(x: Tensor, group: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and sum of squared deviations of each channel, and the number of its values, over all ranks.

    Pairs are put together as in Chan, Golub & LeVeque 1983, equation 1.5.
    """
    channels, dims, count = x.shape[1], _all_but_channels(x), x.numel() // x.shape[1]
    local_mean = x.sum(dims, dtype=torch.float64) / max(1, count)
    local_squares = (x.double() - _per_channel(local_mean, x)).square_().sum(dims)
    # "2C + 1"
    local = torch.cat([local_mean, local_squares, local_mean.new_tensor([count])])
    ranks = [torch.empty_like(local) for _ in range(dist.get_world_size(group))]
    dist.all_gather(ranks, local, group=group)
    (mean, squares), total = local.new_zeros(2, channels), local.new_zeros(())
    for rank in ranks:
        rank_mean, rank_squares, rank_count = rank[:channels], rank[channels:-1], rank[-1]
        new_total = total + rank_count
        share = torch.where(new_total > 0, rank_count / new_total.clamp_min(1), 0.0)
        delta = rank_mean - mean
        squares = squares + rank_squares + delta.square() * total * share
        mean, total = mean + delta * share, new_total
    return mean, squares, total


def _normalised(x: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
    """The examples less their mean and over their deviation, in double precision, where nothing is lost to a mean."""
    return (x.double() - _per_channel(mean, x)).mul_(_per_channel(inverse, x))


def _all_but_channels(x: Tensor) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _per_channel(channels: Tensor, x: Tensor) -> Tensor:
    """One value per channel, shaped to broadcast over the examples."""
    return channels.view(-1, *[1] * (x.ndim - 2))
