"""Layers that torch lacks. All but norms need a stacked form, an entry in FORMS, to train fast together."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WEIGHT_EPS = 1e-5  # under the root, of weight standardisation


def over_root_mean_square(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    """x over its root mean square along the dimensions, which is taken in single precision at least."""
    square = x.to(torch.promote_types(x.dtype, torch.float32)).square().mean(dims, keepdim=True)
    return x * square.add(eps).rsqrt().to(x.dtype)


class RMSNorm(nn.Module):
    """Zhang & Sennrich 2019, equation 4: like layer norm, but neither centred nor shifted.

    Over a signal or an image it takes channels and pixels together, with one scale for each channel, as layer norm
    does here; in sequences, channels last, torch's own goes over each position.
    """

    def __init__(self, channels: int, eps: float, affine: bool) -> None:
        super().__init__()
        self.channels, self.eps = channels, eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Examples "N C ..." over the root mean square of each."""
        out = over_root_mean_square(x, tuple(range(1, x.ndim)), self.eps)
        return out if self.weight is None else out * self.weight.view(-1, *[1] * (x.ndim - 2))


def standardised(weight: Tensor) -> Tensor:
    """The weights of each output channel, "O ...", less their mean and over their deviation (Qiao et al. 2019)."""
    rows = weight.flatten(1)
    centred = rows - rows.mean(1, keepdim=True)
    return (centred * centred.square().mean(1, keepdim=True).add(WEIGHT_EPS).rsqrt()).view_as(weight)


class StandardisedLinear(nn.Linear):
    """A linear layer that uses its weights standardised."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, standardised(self.weight), self.bias)


class StandardisedConv1d(nn.Conv1d):
    """A convolution of signals that uses its weights standardised."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self._conv_forward(x, standardised(self.weight), self.bias)
        return out


class StandardisedConv2d(nn.Conv2d):
    """A convolution of images that uses its weights standardised."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self._conv_forward(x, standardised(self.weight), self.bias)
        return out


STANDARDISED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: StandardisedLinear,
    nn.Conv1d: StandardisedConv1d,
    nn.Conv2d: StandardisedConv2d,
}


def standardise_weights(model: nn.Module) -> None:
    """Let all linear and convolution layers but the last use their weights standardised; the last gives the scores."""
    for layer in [layer for layer in model.modules() if type(layer) in STANDARDISED][:-1]:
        layer.__class__ = STANDARDISED[type(layer)]  # parameters, names and initial values stay what they are


class ResidualScale(nn.Module):
    """A residual branch times a learnt number, zero at first (De & Smith 2020): all blocks start as shortcuts."""

    def __init__(self, spatial_dims: int = 0) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims  # of what it scales: 0 for vectors, 1 for signals, 2 for images
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """What the branch adds."""
        return x * self.weight


class Shortcut(nn.Module):
    """Images less every other row and column, with channels of zeros added (He et al. 2016, option A)."""

    def __init__(self, stride: int, added: int) -> None:
        super().__init__()
        self.stride, self.added = stride, added

    def forward(self, x: Tensor) -> Tensor:
        """The images "... C H W" as the branch's output has them."""
        return F.pad(x[..., :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"stride={self.stride}, added={self.added}"
