"""Which mean and variance a batch norm uses when it is not training: three choices, and what each makes of a model.

Running statistics are what training gathered, and what torch uses in evaluation. Batch statistics are those of the very
examples that are judged together: what one is taken for then depends on its company. Recalibrated ones are gathered
again from training examples, with the weights as they are now (Wu & Johnson 2021, "precise BN").
"""

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.errors import UsageError


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """The layers that normalise over the examples of a batch."""
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]


def with_running(model: nn.Module, batches: Sequence[Tensor]) -> nn.Module:  # noqa: ARG001
    """The model as it is; UsageError where training gathered nothing."""
    if any(layer.running_mean is None for layer in batch_norms(model)):
        raise UsageError("training gathered none (norm_track_running_stats=False)")
    return model


def with_batch(model: nn.Module, batches: Sequence[Tensor]) -> nn.Module:  # noqa: ARG001
    """The model with the statistics of whatever batch it is given."""
    model = deepcopy(model)
    for layer in batch_norms(model):
        layer.running_mean = layer.running_var = layer.num_batches_tracked = None
        layer.track_running_stats = False
        layer.train()  # as such it refuses a batch without a variance
    return model


@torch.no_grad()
def recalibrated(model: nn.Module, batches: Sequence[Tensor]) -> nn.Module:
    """The model with the average statistics of these batches of training examples."""
    model = deepcopy(with_running(model, batches))
    for layer in batch_norms(model):
        layer.reset_running_stats()
        layer.momentum = None  # torch's word for the cumulative average
        layer.train()
    for batch in batches:
        model(batch)
    return model.eval()


STATISTICS: dict[str, Callable[[nn.Module, Sequence[Tensor]], nn.Module]] = {  # model, training batches -> model
    "running": with_running,
    "batch": with_batch,
    "recalibrated": recalibrated,
}
