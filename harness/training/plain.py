"""A model as one process has it, where it was trained by several."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from harness.training.synchronised import SyncBatchNorm

SYNCHRONISED = (nn.SyncBatchNorm, SyncBatchNorm)  # torch's, and that of every device
WRAPPED = "module."  # what DistributedDataParallel puts before the names of a model's tensors
BATCH_NORMS: dict[int, type[nn.Module]] = {  # dimensions of a batch -> layer
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names that the model itself has for them, without DistributedDataParallel's prefix."""
    wrapped = all(name.startswith(WRAPPED) for name in state)
    return {name.removeprefix(WRAPPED) if wrapped else name: tensor for name, tensor in state.items()}


def unsynchronised(model: nn.Module, inputs: tuple[int, ...]) -> nn.Module:
    """The model with BatchNorm in the place of a SyncBatchNorm, with the same tensors; `inputs` is an example's shape.

    A SyncBatchNorm doesn't tell how many dimensions its batches have, so one batch is sent through the model.
    """
    synchronised = {name: layer for name, layer in model.named_modules() if isinstance(layer, SYNCHRONISED)}
    if not synchronised:
        return model
    dims: dict[nn.Module, int] = {}

    def note(layer: nn.Module, given: tuple[Any, ...]) -> None:
        dims[layer] = given[0].ndim

    hooks = [layer.register_forward_pre_hook(note) for layer in synchronised.values()]
    training = model.training
    with torch.no_grad():
        model.eval()(torch.zeros(2, *inputs, device=next(model.parameters()).device))
    for hook in hooks:
        hook.remove()
    model.train(training)
    for name, layer in synchronised.items():
        single = _single(layer, BATCH_NORMS[dims[layer]])
        if not name:
            return single
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, single)
    return model


def _single(layer: nn.SyncBatchNorm | SyncBatchNorm, kind: Any) -> nn.Module:
    with torch.device("meta"):
        single: nn.Module = kind(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
    single.load_state_dict(layer.state_dict(keep_vars=True), assign=True)
    return single.train(layer.training)
