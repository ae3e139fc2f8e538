"""Networks whose blocks add to what they are given."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from harness.errors import SuiteError
from harness.nn.config import ModelConfig, convolution
from harness.nn.feedforward import images
from harness.nn.layers import Shortcut

RESNET_WIDTH = 16  # channels of the first stage at CIFAR's size


class Block(nn.Module):
    """The activation of a branch added to a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, branch: Sequence[nn.Module], shortcut: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut, self.activation = nn.Sequential(*branch), shortcut, activation

    def forward(self, x: Tensor) -> Tensor:
        """What the next block is given."""
        out: Tensor = self.activation(self.branch(x) + self.shortcut(x))
        return out


def resnet(sizes: Sequence[int], config: ModelConfig) -> nn.Module:
    """He et al. 2016, section 4.2: for images of CIFAR's size, with shortcuts without weights (option A).

    `sizes` are the layers with weights, 6n + 2, and the channels of the first of three stages (16 in the paper).
    """
    depth, width = [*sizes, RESNET_WIDTH][:2]
    blocks, rest = divmod(depth - 2, 6)
    if rest or not blocks:
        raise SuiteError(f"a resnet has 6n + 2 layers, such as 20, 56 or 110, got {depth}")
    channels, *_ = images("resnet", config)
    layers = [*convolution(channels, width, config), config.activation()]
    for stage in range(3):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            layers.append(_images_block(width, width * stride, stride, config))
            width *= stride
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, config.outputs))


def _images_block(channels: int, width: int, stride: int, config: ModelConfig) -> Block:
    first, second = convolution(channels, width, config, stride), convolution(width, width, config)
    branch = [*first, config.activation(), *second, config.residual_scale(spatial_dims=2)]
    return Block(branch, Shortcut(stride, width - channels) if stride > 1 else nn.Identity(), config.activation())


def resmlp(widths: Sequence[int], config: ModelConfig) -> nn.Module:
    """For each width a block of two linear layers, each with its norm; a linear layer leads up to another width.

    `resmlp-64x8` has eight such blocks, and is to `mlp` what a resnet is to a cnn: 18 layers with weights.
    """
    layers: list[nn.Module] = [nn.Flatten()] if len(config.inputs) > 1 else []
    features = prod(config.inputs)
    for i, width in enumerate(widths):
        if not i or width != features:
            layers += [nn.Linear(features, width), config.norm(width), config.activation()]
            features = width
        first, second = ([nn.Linear(width, width), config.norm(width)] for _ in range(2))
        branch = [*first, config.activation(), *second, config.residual_scale()]
        layers.append(Block(branch, nn.Identity(), config.activation()))
    return nn.Sequential(*layers, nn.Linear(features, config.outputs))
