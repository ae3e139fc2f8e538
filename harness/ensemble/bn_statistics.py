"""Which mean and variance a batch norm uses in evaluation: three choices, for a plain module and for an ensemble.

Running statistics are what training gathered, and what torch uses in evaluation. Batch statistics are those of the
examples that are evaluated together, so that a prediction depends on the other examples in its batch. Recalibrated ones
are gathered again from training examples, with the weights as they are now (Wu & Johnson 2021, "precise BN").
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.data.streamed_tensors import AnyExamples
from harness.ensemble.backends.stacked_module import StackedLayer
from harness.ensemble.ensemble import Ensemble
from harness.ensemble.module_copy import copy_module
from harness.errors import UsageError
from harness.nn.module_state import buffers_of
from harness.rng import generator

# That statistics are gathered from. Wu & Johnson 2021, section 3, find 1,000 to 10,000 examples enough.
MAX_BATCHES = 200


def edges(examples: int, size: int) -> list[int]:
    """Where examples are split into batches of a size, the last a smaller one; a single example joins that before."""
    return list(range(size, examples - (size > 1), size))


def batches(x: Tensor, size: int) -> list[Tensor]:
    """The examples in batches of a size."""
    return list(x.tensor_split(edges(len(x), size)))


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
    model = copy_module(model)
    for layer in batch_norms(model):
        layer.running_mean = layer.running_var = layer.num_batches_tracked = None
        layer.track_running_stats = False
        layer.train()  # as such it refuses a batch without a variance
    return model


@torch.no_grad()
def recalibrated(model: nn.Module, batches: Sequence[Tensor]) -> nn.Module:
    """The model with the average statistics of these batches of training examples."""
    model = copy_module(with_running(model, batches))
    for layer in batch_norms(model):
        layer.reset_running_stats()
        layer.momentum = None  # for torch, the cumulative average
        layer.train()
    for batch in batches:
        model(batch)
    return model.eval()


STATISTICS: dict[str, Callable[[nn.Module, Sequence[Tensor]], nn.Module]] = {  # model, training batches -> model
    "running": with_running,
    "batch": with_batch,
    "recalibrated": recalibrated,
}


@torch.no_grad()
def precise_bn(ensemble: Ensemble, train: AnyExamples, batch_size: int) -> Ensemble:
    """The models, on the same weights, with the average statistics of batches of training examples "N ...".

    The examples come in an order that is always the same, and all models share them.
    """
    if not batch_norms(ensemble.template):
        return ensemble
    template = copy_module(ensemble.template)
    averaging = {name: layer for name, layer in template.named_modules() if isinstance(layer, _BatchNorm)}
    for layer in averaging.values():
        layer.momentum = None
    buffers = {name: buffer.clone() for name, buffer in ensemble.buffers.items()}
    for name in averaging:
        for statistic, value in (("running_mean", 0), ("running_var", 1), ("num_batches_tracked", 0)):
            if f"{name}.{statistic}" in buffers:
                buffers[f"{name}.{statistic}"].fill_(value)
    recalibrated_ensemble = ensemble.with_template(template, buffers)
    order = torch.randperm(len(train), generator=generator(0, "recalibrate"))
    with recalibrated_ensemble.eval_mode():
        for module in recalibrated_ensemble.module.modules():
            if isinstance(module.plain if isinstance(module, StackedLayer) else module, _BatchNorm):
                module.train()
        for i, rows in enumerate(batches(order, batch_size)[:MAX_BATCHES]):
            recalibrated_ensemble.count_batches(i)
            recalibrated_ensemble(train[rows.to(train.device)], shared=True)
    return recalibrated_ensemble


def without_running(ensemble: Ensemble) -> Ensemble:
    """The models, on the same weights, with the statistics of whatever batch they are given."""
    if not batch_norms(ensemble.template):
        return ensemble
    template = with_batch(ensemble.template, ())
    removed = buffers_of(ensemble.template).keys() - buffers_of(template).keys()
    return ensemble.with_template(
        template, {name: buffer for name, buffer in ensemble.buffers.items() if name not in removed}
    )


# The same of a cohort: models, training examples, batch size -> models.
EVAL_STATISTICS: dict[str, Callable[[Ensemble, AnyExamples, int], Ensemble]] = {
    "running": lambda ensemble, train, batch_size: ensemble,
    "batch": lambda ensemble, train, batch_size: without_running(ensemble),
    "recalibrated": precise_bn,
}
