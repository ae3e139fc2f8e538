"""Norms as a suite may bring them: one that torch.vmap covers, and one that keeps a statistic of its own."""

import torch
from torch import Tensor, nn


class SoftSign(nn.Module):
    """Bounded like Dynamic Tanh, by x / (1 + |x|)."""

    def __init__(self, channels: int, spatial_dims: int, channels_last: bool) -> None:
        super().__init__()
        shape = (channels,) if channels_last else (channels, *[1] * spatial_dims)
        self.slope = nn.Parameter(torch.tensor(0.5))
        self.weight, self.bias = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * nn.functional.softsign(self.slope * x) + self.bias


class RunningScale(nn.Module):
    """Over the running root mean square of all that it has seen in training."""

    def __init__(self, channels: int, momentum: float) -> None:
        super().__init__()
        self.momentum, self.weight = momentum, nn.Parameter(torch.ones(channels))
        self.register_buffer("square", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.square.lerp_(x.detach().square().mean(), self.momentum)
        return self.weight * x / self.square.sqrt()


OWN_NORMS = {"SoftSign": SoftSign, "RunningScale": RunningScale}
