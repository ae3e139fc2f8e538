"""Layers that move, drop or scale numbers."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from harness.ensemble.backends.base import NotStackableError
from harness.ensemble.backends.dropout import SPATIAL_DIMS, draw_masks
from harness.ensemble.backends.stacked_layers.call import LayerCall, LayerFn
from harness.nn.layers import ResidualScale, Shortcut

DROPOUTS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Dropout: F.dropout,
    nn.Dropout1d: F.dropout1d,
    nn.Dropout2d: F.dropout2d,
}  # as on a GPU


def check_flattens_all(layer: nn.Module) -> None:
    """NotStackableError where a Flatten keeps some dimensions of an example."""
    assert isinstance(layer, nn.Flatten)
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise NotStackableError("a Flatten keeps some dimensions")


def flatten(call: LayerCall, x: Tensor) -> Tensor:
    check_flattens_all(call.layer)
    if call.shared:
        return x.flatten(1)
    # "N MC ..." -> "M C... N"
    return x if call.is_of_vectors else x.reshape(len(x), call.models, -1).permute(1, 2, 0)


def dropout(call: LayerCall, x: Tensor) -> Tensor:
    layer, drop = call.layer, DROPOUTS[type(call.layer)]
    assert isinstance(layer, nn.Dropout | nn.Dropout1d | nn.Dropout2d)
    if SPATIAL_DIMS[type(layer)] not in (0, call.spatial_dims):
        raise NotStackableError(f"{type(layer).__name__} gets examples of {call.spatial_dims + 1} dimensions")
    if not call.training or layer.p == 0.0 or not call.generators:
        return drop(x, layer.p, call.training)
    if call.is_of_vectors:
        return x * draw_masks(layer, x.shape[1:], call.generators, x, 0)
    images = call.unfold_models(x)
    shape = (len(x), *images.shape[2:])
    return (images * draw_masks(layer, shape, call.generators, x, 1)).flatten(1, 2)


def residual_scale(call: LayerCall, x: Tensor) -> Tensor:
    x = call.per_model(x)
    scale = call.tensors["weight"]  # "M 1"
    if call.is_of_vectors:
        return x * scale.unsqueeze(2)
    per_channel = scale.expand(-1, x.shape[1] // call.models).reshape(-1, *[1] * (x.ndim - 2))
    return x * per_channel  # its gradient is added up channel by channel, for one model as for many


def shortcut(call: LayerCall, x: Tensor) -> Tensor:
    images: Tensor = call.layer(call.unfold_models(call.per_model(x)))
    return images.flatten(1, 2)


FORMS: dict[type[nn.Module], LayerFn] = {
    ResidualScale: residual_scale,
    Shortcut: shortcut,
    nn.Flatten: flatten,
    **dict.fromkeys(DROPOUTS, dropout),
}
