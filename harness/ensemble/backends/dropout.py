"""Dropout whose draws are each model's own: a function of its generator, whatever other models are drawn for."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from harness.ensemble.backends.base import NotStackableError

SPATIAL_DIMS: dict[type[nn.Module], int] = {nn.Dropout: 0, nn.Dropout1d: 1, nn.Dropout2d: 2}  # that share a draw


def check_dropouts(model: nn.Module) -> None:
    """NotStackableError where the model has a dropout that can't be drawn for each model by itself."""
    for layer in model.modules():
        if isinstance(layer, _DropoutNd) and type(layer) not in SPATIAL_DIMS:
            raise NotStackableError(f"{type(layer).__name__} is drawn for all models together")


def draw_masks(
    layer: nn.Module, shape: Sequence[int], generators: Sequence[torch.Generator], like: Tensor, dim: int
) -> Tensor:
    """What a dropout multiplies each model's numbers of this shape by; the models are the dimension `dim`."""
    assert isinstance(layer, _DropoutNd)
    keep, shared = 1.0 - layer.p, SPATIAL_DIMS[type(layer)]
    drawn = (*shape[: len(shape) - shared], *[1] * shared)
    masks = [like.new_empty(drawn).bernoulli_(keep, generator=generator) for generator in generators]
    return torch.stack(masks, dim).mul_(1 / keep if keep else 0.0)


class MappedDropout(nn.Module):
    """A dropout under torch.func.vmap, where one call stands for all models."""

    def __init__(self, layer: nn.Module, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.layer, self.generators = layer, generators

    def forward(self, x: Tensor) -> Tensor:
        """The examples "N ..." of one model."""
        if not self.training or self.layer.p == 0.0:
            return x
        out: Tensor = _DrawnPerModel.apply(x, self.layer, self.generators)  # type: ignore[no-untyped-call]
        return out


class _DrawnPerModel(torch.autograd.Function):
    """Hands vmap a rule of our own, which sees all models; autograd follows what the rule does."""

    @staticmethod
    def forward(x: Tensor, layer: nn.Module, generators: Sequence[torch.Generator]) -> Tensor:  # noqa: ARG004
        raise NotStackableError("a dropout gets what all models share")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing is kept."""

    @staticmethod
    def vmap(
        info: Any,  # noqa: ARG004
        in_dims: tuple[Any, ...],
        x: Tensor,
        layer: nn.Module,
        generators: Sequence[torch.Generator],
    ) -> tuple[Tensor, int]:
        """All models' numbers, and where the models are among their dimensions."""
        x = x.movedim(in_dims[0], 0)
        return x * draw_masks(layer, x.shape[1:], generators, x, 0), 0
