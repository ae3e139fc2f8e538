"""Filter response norm with its thresholded linear unit (Singh & Krishnan 2020): no batch, and no mean."""

import torch
from torch import Tensor, nn


class FilterResponseNorm(nn.Module):
    """Each channel of each example over the root of its mean square over the pixels, then max(., threshold).

    The threshold of the unit is learnt, one for each channel. Without scale and shift it stays zero: that is a ReLU.
    """

    def __init__(self, channels: int, eps: float, affine: bool) -> None:
        super().__init__()
        self.channels, self.eps = channels, eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.threshold = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Signals or images "N C ..." after norm and activation."""
        return filter_response(x, (self.weight, self.bias, self.threshold), self.eps)

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"{self.channels}, eps={self.eps}"


def filter_response(x: Tensor, scales: tuple[Tensor | None, Tensor | None, Tensor | None], eps: float) -> Tensor:
    """Norm and unit of signals or images "N C ...", with scale, shift and threshold "C"; means in single precision."""
    square = x.to(torch.promote_types(x.dtype, torch.float32)).square()
    out = x * square.mean(tuple(range(2, x.ndim)), keepdim=True).add(eps).rsqrt().to(x.dtype)
    weight, bias, threshold = scales
    if weight is None or bias is None or threshold is None:
        return out.clamp(min=0)
    shape = (-1, *[1] * (x.ndim - 2))
    return torch.maximum(torch.addcmul(bias.view(shape), out, weight.view(shape)), threshold.view(shape))
