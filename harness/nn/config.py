"""What a family of models is built from, and a block that several families share."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from harness.nn.norms import NormFactory


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The shape of one example, the number of outputs, the norm, the activation, and what ends a residual branch."""

    inputs: tuple[int, ...]
    outputs: int  # classes, or targets, or labels: of each position where `per_position`
    classes: int | None  # the same where the task has classes
    per_position: bool  # whether positions of an example have a label each: the model then gives (N, L, outputs)
    norm: NormFactory
    activation: Callable[[], nn.Module]
    residual_scale: Callable[..., nn.Module]  # (spatial_dims=0) -> layer
    vocabulary: int | None = None  # how many tokens there are, where examples are tokens "N L"
    norm_position: str = "pre"  # of a transformer's norms: before each residual branch, or "post", after the sum
    qk_norm: bool = False  # whether attention normalises queries and keys
    causal: bool = False  # whether attention looks at no later position


def convolution(channels: int, width: int, config: ModelConfig, stride: int = 1) -> list[nn.Module]:
    """A convolution of images over 3 x 3 and its norm; it has a bias only where the norm has no shift of its own.

    The bias starts at zero and draws nothing, so that all arms start from the same weights.
    """
    layer, norm = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False), config.norm(width, spatial_dims=2)
    if getattr(norm, "bias", None) is None:
        layer.bias = nn.Parameter(torch.zeros(width))
    return [layer, norm]
