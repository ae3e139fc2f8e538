"""Replacing layers of a model, so that one process can run what several trained."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.nn.ghost_batch_norm import GhostBatchNorm
from harness.nn.module_state import example_zeros
from harness.nn.sync_batch_norm import SyncBatchNorm

SYNC_BATCH_NORMS = (nn.SyncBatchNorm, SyncBatchNorm)  # torch's, and that of every device
BATCH_NORM_OF_DIMS: dict[int, type[nn.Module]] = {  # dimensions of a batch -> layer
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}


def convert_from_sync_bn(model: nn.Module, input_shape: tuple[int, ...]) -> nn.Module:
    """The model with BatchNorm in the place of each SyncBatchNorm, with the same tensors.

    A SyncBatchNorm doesn't tell how many dimensions its batches have, so one batch is sent through the model.
    """
    sync_norms = [layer for layer in model.modules() if isinstance(layer, SYNC_BATCH_NORMS)]
    if not sync_norms:
        return model
    dims: dict[_BatchNorm, int] = {}

    def note_dims(layer: _BatchNorm, args: tuple[Any, ...]) -> None:
        dims[layer] = args[0].ndim

    hooks = [layer.register_forward_pre_hook(note_dims) for layer in sync_norms]
    was_training = model.training
    with torch.no_grad():
        model.eval()(example_zeros(model, 2, input_shape))
    for hook in hooks:
        hook.remove()
    model.train(was_training)
    # One that the model never calls keeps its kind: nobody asks how many dimensions it has.
    return replace_modules(model, {layer: _replacement(layer, BATCH_NORM_OF_DIMS[dim]) for layer, dim in dims.items()})


def convert_to_ghost_bn(model: nn.Module, norm_batch: int) -> nn.Module:
    """The model with ghost batch norm over `norm_batch` examples in the place of batch norm, with the same tensors."""
    return replace_modules(
        model,
        {
            layer: _replacement(layer, partial(GhostBatchNorm, norm_batch=norm_batch))
            for layer in model.modules()
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
        },
    )


def replace_modules(model: nn.Module, layers: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """The model with other layers in all places of these."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and child in layers:
                setattr(parent, name, layers[child])
    return layers.get(model, model)


def _replacement(layer: _BatchNorm, layer_type: Any) -> nn.Module:
    """A layer of another type, with the settings and the tensors of this one."""
    options = {name: getattr(layer, name) for name in ("eps", "momentum", "affine", "track_running_stats")}
    with torch.device("meta"):
        replacement: nn.Module = layer_type(layer.num_features, **options)
    replacement._parameters.update(layer._parameters)  # the very same, for others may hold them too
    replacement._buffers.update(layer._buffers)
    return replacement.train(layer.training)
