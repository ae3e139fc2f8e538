"""Standardising along a dimension that torch's kernels don't take, with a gradient written out: for stacked layers."""

from typing import Any

import torch
from torch import Tensor


def standardise(x: Tensor, eps: float) -> Tensor:
    """Groups of channels of each example, "M G C N", less their mean and over their deviation."""
    # Under autocast in single precision, as torch's kernels do inside.
    out: Tensor
    out, _ = _Standardise.apply(x.to(torch.promote_types(x.dtype, torch.float32)), eps)  # type: ignore[no-untyped-call]
    return out.to(x.dtype)


class _Standardise(torch.autograd.Function):
    """What torch's kernels do along the last dimension, but along the third; and the inverse of the deviation.

    The latter is an output because a gradient that is differentiated again needs its gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        # "M G C N", "M G 1 N"
        centred = x - x.mean(2, keepdim=True)
        inverse = centred.square().mean(2, keepdim=True).add_(eps).rsqrt_()
        out = centred.mul_(inverse)
        ctx.save_for_backward(out, inverse)
        ctx.set_materialize_grads(False)
        return out, inverse

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_inverse: Tensor | None) -> tuple[Tensor, None]:
        """Ba et al. 2016: less the part along the constant, and that along the output."""
        # "M G C N", "M G 1 N"
        out, inverse = ctx.saved_tensors
        projection = (grad * out).mean(2, keepdim=True)
        grad_x = (grad - grad.mean(2, keepdim=True)).sub_(out * projection).mul_(inverse)
        if grad_inverse is not None:
            grad_x = grad_x - grad_inverse * inverse.square() * out / out.shape[2]
        return grad_x, None
