"""Norms over the examples of a batch: that of all models is one over M x C channels."""

import torch.nn.functional as F
from torch import Tensor, nn

from harness.ensemble.backends.stacked_layers.call import LayerCall, LayerFn
from harness.nn.ghost_batch_norm import GhostBatchNorm, normalise_groups
from harness.nn.norm_layers.batch_renorm import BatchRenorm, renormalise


def _channels_of_all(call: LayerCall, x: Tensor) -> Tensor:
    """The input as one of M x C channels, as torch's batch norm takes it: vectors "M C N" as "1 MC N"."""
    return x.reshape(1, -1, x.shape[2]) if call.is_of_vectors else x


def batch_norm(call: LayerCall, x: Tensor) -> Tensor:
    x = call.per_model(x)
    return _normalise_batch(call, _channels_of_all(call, x)).view(x.shape)


def _normalise_batch(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    weight, bias, mean, var = (call.get(name) for name in ("weight", "bias", "running_mean", "running_var"))
    if not call.training or mean is None or var is None:
        return F.batch_norm(x, mean, var, weight, bias, mean is None, 0.0, layer.eps)
    batches = call.tensors["num_batches_tracked"].add_(1)
    if layer.momentum is not None:
        return F.batch_norm(x, mean, var, weight, bias, True, layer.momentum, layer.eps)
    # The average of all batches: with a momentum of 1 the statistics of this batch alone are what comes back.
    batch_mean, batch_var = mean.clone(), var.clone()
    out = F.batch_norm(x, batch_mean, batch_var, weight, bias, True, 1.0, layer.eps)
    # "M" -> "MC"
    share = batches.to(mean.dtype).reciprocal().repeat_interleave(layer.num_features)
    mean.lerp_(batch_mean, share)
    var.lerp_(batch_var, share)
    return out


def ghost_batch_norm(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, GhostBatchNorm)
    x = call.per_model(x)
    flat = _channels_of_all(call, x)
    weight, bias, mean, var = (call.get(name) for name in ("weight", "bias", "running_mean", "running_var"))
    if not call.training and mean is not None:
        return F.batch_norm(flat, mean, var, weight, bias, False, 0.0, layer.eps).view(x.shape)
    share: Tensor | float = 0.0
    if call.training and mean is not None:
        batches = call.tensors["num_batches_tracked"].add_(1)
        average = batches.to(mean.dtype).reciprocal().repeat_interleave(layer.num_features)
        share = average if layer.momentum is None else layer.momentum
    examples_dim = 2 if call.is_of_vectors else 0
    out = normalise_groups(
        flat, (mean, var), (weight, bias), norm_batch=layer.norm_batch, eps=layer.eps, share=share, dim=examples_dim
    )
    return out.view(x.shape)


def batch_renorm(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, BatchRenorm)
    x = call.per_model(x)
    flat = _channels_of_all(call, x)
    weight, bias, mean, var = (call.get(name) for name in ("weight", "bias", "running_mean", "running_var"))
    if not call.training or mean is None or var is None:
        return F.batch_norm(flat, mean, var, weight, bias, mean is None, 0.0, layer.eps).view(x.shape)
    counted = call.tensors["num_batches_tracked"]
    # "M" -> "MC"
    before = counted.to(mean.dtype).repeat_interleave(layer.num_features)
    counted.add_(1)
    share = (before + 1).reciprocal() if layer.momentum is None else layer.momentum
    out = renormalise(flat, (mean, var), (weight, bias), limits=layer.limits(before), share=share, eps=layer.eps)
    return out.view(x.shape)


FORMS: dict[type[nn.Module], LayerFn] = {
    nn.BatchNorm1d: batch_norm,
    nn.BatchNorm2d: batch_norm,
    GhostBatchNorm: ghost_batch_norm,
    BatchRenorm: batch_renorm,
}
