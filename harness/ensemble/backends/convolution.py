"""Convolutions of stacked models, as groups of one: no model's bits depend on how many there are."""

import torch.nn.functional as F
from torch import Tensor, nn

# What a convolution in groups has at least; it is filled up with zeros. With fewer oneDNN takes other kernels, whose
# last bits differ.
MIN_MODELS, MIN_CHANNELS = 2, 8


def convolve(layer: nn.Conv1d | nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """The layer's convolution with these weights, in so many groups."""
    function = F.conv1d if isinstance(layer, nn.Conv1d) else F.conv2d
    out: Tensor = function(x, weight, bias, layer.stride, layer.padding, layer.dilation, groups)
    return out


def convolve_models(
    layer: nn.Conv1d | nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None, models: int
) -> Tensor:
    """The convolution of each model's signals or images, "N MC ...", with its own weights, "MO C ..."."""
    spare = max(0, MIN_MODELS - models, -(-MIN_CHANNELS // layer.in_channels) - models)
    if not spare:
        return convolve(layer, x, weight, bias, models * layer.groups)
    x = _add_channels(x, spare * layer.in_channels, 1)
    weight = _add_channels(weight, spare * layer.out_channels, 0)
    bias = None if bias is None else _add_channels(bias, spare * layer.out_channels, 0)
    out = convolve(layer, x, weight, bias, (models + spare) * layer.groups)
    return _add_channels(out, -spare * layer.out_channels, 1)


def _add_channels(x: Tensor, count: int, dim: int) -> Tensor:
    """So many channels of zeros more along the dimension; fewer channels where the count is negative."""
    return F.pad(x, (*[0, 0] * (x.ndim - 1 - dim), 0, count))
