"""Replacing layers of a model, so that one process can run what several trained."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.nn.ghost_batch_norm import GhostBatchNorm
from harness.nn.sync_batch_norm import SyncBatchNorm

SYNC_BATCH_NORMS = (nn.SyncBatchNorm, SyncBatchNorm)  # torch's, and that of every device
DDP_PREFIX = "module."  # what DistributedDataParallel puts before the names of a model's tensors
BATCH_NORM_OF_DIMS: dict[int, type[nn.Module]] = {  # dimensions of a batch -> layer
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}


def strip_ddp_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names that the model itself has for them, without DistributedDataParallel's prefix."""
    is_wrapped = all(name.startswith(DDP_PREFIX) for name in state)
    return {name.removeprefix(DDP_PREFIX) if is_wrapped else name: tensor for name, tensor in state.items()}


def convert_from_sync_bn(model: nn.Module, input_shape: tuple[int, ...]) -> nn.Module:
    """The model with BatchNorm in the place of each SyncBatchNorm, with the same tensors.

    A SyncBatchNorm doesn't tell how many dimensions its batches have, so one batch is sent through the model.
    """
    sync_norms = {name: layer for name, layer in model.named_modules() if isinstance(layer, SYNC_BATCH_NORMS)}
    if not sync_norms:
        return model
    dims: dict[nn.Module, int] = {}

    def note_dims(layer: nn.Module, args: tuple[Any, ...]) -> None:
        dims[layer] = args[0].ndim

    hooks = [layer.register_forward_pre_hook(note_dims) for layer in sync_norms.values()]
    was_training = model.training
    with torch.no_grad():
        model.eval()(next(model.parameters()).new_zeros(2, *input_shape))
    for hook in hooks:
        hook.remove()
    model.train(was_training)
    return replace_modules(
        model, {name: _replacement(layer, BATCH_NORM_OF_DIMS[dims[layer]]) for name, layer in sync_norms.items()}
    )


def convert_to_ghost_bn(model: nn.Module, norm_batch: int) -> nn.Module:
    """The model with ghost batch norm over `norm_batch` examples in the place of batch norm, with the same tensors."""
    return replace_modules(
        model,
        {
            name: _replacement(layer, partial(GhostBatchNorm, norm_batch=norm_batch))
            for name, layer in model.named_modules()
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
        },
    )


def replace_modules(model: nn.Module, layers: Mapping[str, nn.Module]) -> nn.Module:
    """The model with these layers in the place of those of the same names."""
    for name, layer in layers.items():
        if not name:
            return layer
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer)
    return model


def _replacement(layer: _BatchNorm, layer_type: Any) -> nn.Module:
    """A layer of another type, with the settings and the tensors of this one."""
    options = {name: getattr(layer, name) for name in ("eps", "momentum", "affine", "track_running_stats")}
    with torch.device("meta"):
        replacement: nn.Module = layer_type(layer.num_features, **options)
    replacement.load_state_dict(layer.state_dict(keep_vars=True), assign=True)
    return replacement.train(layer.training)
