"""Dynamic Tanh: no statistics at all, but the saturation that norms have in effect (Zhu et al. 2025)."""

import torch
from torch import Tensor, nn

ALPHA = 0.5  # at first, as in the paper


class DynamicTanh(nn.Module):
    """weight * tanh(alpha * x) + bias, number by number, with one learnt alpha for the whole layer."""

    def __init__(self, channels: int, affine: bool, *, channels_last: bool = False) -> None:
        super().__init__()
        self.channels, self.channels_last = channels, channels_last
        self.alpha = nn.Parameter(torch.full((1,), ALPHA))
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Examples "N C ...", or "N ... C" where channels come last, shaped as they came."""
        out = torch.tanh(self.alpha * x)
        if self.weight is None or self.bias is None:
            return out
        shape = (-1,) if self.channels_last else (-1, *[1] * (x.ndim - 2))
        return torch.addcmul(self.bias.view(shape), out, self.weight.view(shape))

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"{self.channels}, channels_last={self.channels_last}"
