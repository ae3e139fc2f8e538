"""What the stacked form of a layer is called with, and the layout of its input."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCall:
    """One layer of all models, and what is known of its input."""

    layer: nn.Module  # the plain layer, without weights: what it was made with
    tensors: Mapping[str, Tensor]  # name in the layer -> "M ..."
    models: int
    spatial_dims: int  # of the input: 0 for vectors, 1 for signals, 2 for images
    shared: bool  # whether the input is examples "N ..." that all models share
    training: bool
    generators: Sequence[torch.Generator] = ()  # of each model, for what it draws; none on a GPU

    @property
    def is_of_vectors(self) -> bool:
        """Whether the input is "M C N", where it isn't shared."""
        return self.spatial_dims == 0

    def get(self, name: str) -> Tensor | None:
        """The stacked tensor of that name with models and channels as one dimension, None where there is none."""
        return self.tensors[name].flatten(0, 1) if name in self.tensors else None

    def per_model(self, x: Tensor) -> Tensor:
        """The input in the layout of stacked layers, also where it was shared."""
        return expand_models(x, self.models) if self.shared else x

    def unfold_models(self, x: Tensor) -> Tensor:
        """Signals or images "N MC ..." with the models in a dimension of their own, "N M C ..."."""
        return x.reshape(len(x), self.models, -1, *x.shape[2:])


LayerFn = Callable[[LayerCall, Tensor], Tensor]


def expand_models(x: Tensor, models: int) -> Tensor:
    """Shared examples "N ..." as if each model had its own."""
    return to_stacked_layout(x.unsqueeze(1).expand(-1, models, *x.shape[1:]))


def to_stacked_layout(x: Tensor) -> Tensor:
    """Each model's examples "N M ..." as stacked layers have them: "M C N", or "N MC ..." for signals and images."""
    return x.permute(1, 2, 0) if x.ndim == 3 else x.flatten(1, 2)
