"""Standardising along a dimension that torch's kernels don't take, with a gradient written out: for stacked layers."""

from typing import Any

import torch
from torch import Tensor


def standardise(x: Tensor, eps: float) -> Tensor:
    """Groups of channels of each example, "M G C N", less their mean and over their deviation."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))  # under autocast, as torch's kernels do inside
    out: Tensor
    out, _ = _Standardise.apply(wide, eps)  # type: ignore[no-untyped-call]
    return out.to(x.dtype)


class _Standardise(torch.autograd.Function):
    """What torch's kernels do along the last dimension, along the third; and the inverse of the deviation.

    That is given back because its own gradient is needed where a gradient is differentiated.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        centred = x - x.mean(2, keepdim=True)
        inverse = centred.square().mean(2, keepdim=True).add_(eps).rsqrt_()
        out = centred.mul_(inverse)
        ctx.save_for_backward(out, inverse)
        ctx.set_materialize_grads(False)
        return out, inverse

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_inverse: Tensor | None) -> tuple[Tensor, None]:
        """Ba et al. 2016: less the part along the constant, and that along the output."""
        out, inverse = ctx.saved_tensors
        along = (grad * out).mean(2, keepdim=True)
        found = (grad - grad.mean(2, keepdim=True)).sub_(out * along).mul_(inverse)
        return found if grad_inverse is None else found - grad_inverse * inverse.square() * out / out.shape[2], None
