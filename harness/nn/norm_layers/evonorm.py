"""EvoNorm-S0: norm and activation in one, as a search over both has found it (Liu et al. 2020)."""

import torch
from torch import Tensor, nn


class EvoNormS0(nn.Module):
    """x * sigmoid(v * x) over the standard deviation of its group, scaled and shifted; v is learnt for each channel."""

    def __init__(self, groups: int, channels: int, eps: float, affine: bool) -> None:
        super().__init__()
        self.groups, self.channels, self.eps = groups, channels, eps
        self.v = nn.Parameter(torch.ones(channels))
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Examples "N C ..." after norm and activation."""
        shape = (-1, *[1] * (x.ndim - 2))
        out = x * torch.sigmoid(self.v.view(shape) * x)
        # "N C ..." -> "N G C.../G"; a len would fix the number of examples in an export
        out = over_deviation(out, x, (x.shape[0], self.groups, -1), (2,), self.eps)
        if self.weight is None or self.bias is None:
            return out
        return torch.addcmul(self.bias.view(shape), out, self.weight.view(shape))

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"{self.groups}, {self.channels}, eps={self.eps}"


def over_deviation(
    numbers: Tensor, x: Tensor, grouped: tuple[int | torch.SymInt, ...], dims: tuple[int, ...], eps: float
) -> Tensor:
    """The numbers over the deviations of x along dimensions of its grouped shape, in single precision at least."""
    groups = x.to(torch.promote_types(x.dtype, torch.float32)).reshape(grouped)
    factor = groups.var(dims, correction=0, keepdim=True).add(eps).rsqrt().to(x.dtype)
    return (numbers.reshape(grouped) * factor).reshape(x.shape)
