"""Networks of one layer after the other."""

from collections.abc import Sequence
from math import prod

from torch import nn

from harness.errors import SuiteError
from harness.nn.config import ModelConfig, convolution

CONVOLUTIONS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d}  # dimensions of a signal, of an image -> layer
POOLS: dict[int, type[nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d}
VGG: dict[int, tuple[int, ...]] = {  # layers with weights -> convolutions at each size of image
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
VGG_WIDTHS = (1, 2, 4, 8, 8)  # channels at each size, in multiples of the first


def mlp(widths: Sequence[int], config: ModelConfig) -> nn.Module:
    """Linear, norm, activation, for each width; the norm comes before the activation, as in Ioffe & Szegedy 2015."""
    layers: list[nn.Module] = [nn.Flatten()] if len(config.inputs) > 1 else []
    features = prod(config.inputs)
    for width in widths:
        layers += [nn.Linear(features, width), config.norm(width), config.activation()]
        features = width
    return nn.Sequential(*layers, nn.Linear(features, config.outputs))


def cnn(widths: Sequence[int], config: ModelConfig) -> nn.Module:
    """Convolution over 3 (or 3 x 3), norm, activation, for each width, halving the sides as long as there is room."""
    channels, *size = config.inputs
    dims = len(size)
    if dims not in CONVOLUTIONS:
        raise SuiteError(
            "a cnn needs signals (channels, length) or images (channels, height, width), "
            f"got examples of shape {config.inputs}"
        )
    layers: list[nn.Module] = []
    for width in widths:
        layers += [
            CONVOLUTIONS[dims](channels, width, 3, padding=1),
            config.norm(width, spatial_dims=dims),
            config.activation(),
        ]
        if min(size) >= 2:
            layers.append(POOLS[dims](2))
            size = [side // 2 for side in size]
        channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * prod(size), config.outputs))


def vgg(sizes: Sequence[int], config: ModelConfig) -> nn.Module:
    """The convolutions of Simonyan & Zisserman 2015 at CIFAR's size, with one linear layer behind them.

    So it is used with batch norm in Santurkar et al. 2018 and elsewhere. `sizes` are the layers with weights, and the
    channels of the first (64 in the paper). Images are halved five times, as long as there is room: 32 x 32 become 1.
    """
    depth, width = [*sizes, 64][:2]
    if depth not in VGG:
        raise SuiteError(f"a vgg has {', '.join(map(str, VGG))} layers, got {depth}")
    channels, *size = images("vgg", config)
    layers: list[nn.Module] = []
    for count, factor in zip(VGG[depth], VGG_WIDTHS, strict=True):
        for _ in range(count):
            layers += [*convolution(channels, width * factor, config), config.activation()]
            channels = width * factor
        if min(size) >= 2:
            layers.append(nn.MaxPool2d(2))
            size = [side // 2 for side in size]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * prod(size), config.outputs))


def images(family: str, config: ModelConfig) -> tuple[int, ...]:
    """Channels, height and width of the examples; SuiteError where they are no images."""
    if len(config.inputs) != 3:
        raise SuiteError(f"a {family} needs images (channels, height, width), got examples of shape {config.inputs}")
    return config.inputs
