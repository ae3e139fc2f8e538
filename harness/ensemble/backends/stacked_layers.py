"""Known layers of M models as one layer each: the same arithmetic, in a layout that needs no copies.

Vectors lie as "M C N" (models, channels, examples): a linear layer is a batched matrix product, and a batch norm of all
models is one batch norm over M x C channels, which is a view. Signals and images lie as "N MC L" and "N MC H W": a
convolution is one with M times the groups. Examples that all models share come as "N ...", until a layer with weights
gives each model its own.

To add a layer: one entry in LAYERS, a function of the call and its input. Layers that treat each number or each channel
by itself (activations, pooling) need none: they don't see that there are many models. Norms without an entry
are mapped over the models, each by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.batchnorm import _NormBase

from harness.ensemble.backends.base import NotStackableError
from harness.ensemble.backends.convolution import convolve, convolve_models
from harness.ensemble.backends.dropout import SPATIAL_DIMS, draw_masks
from harness.ensemble.backends.standardise import standardise
from harness.nn.ghost_batch_norm import GhostBatchNorm, normalise_groups
from harness.nn.layers import STANDARDISED, ResidualScale, RMSNorm, Shortcut, over_root_mean_square, standardised
from harness.nn.norms import NORM_LAYERS


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

MIN_STACK = 2  # models of a product: for one torch takes other kernels, whose last bits differ


def expand_models(x: Tensor, models: int) -> Tensor:
    """Shared examples "N ..." as if each model had its own."""
    return to_stacked_layout(x.unsqueeze(1).expand(-1, models, *x.shape[1:]))


def to_stacked_layout(x: Tensor) -> Tensor:
    """Each model's examples "N M ..." as stacked layers have them: "M C N", or "N MC ..." for signals and images."""
    return x.permute(1, 2, 0) if x.ndim == 3 else x.flatten(1, 2)


def _linear(call: LayerCall, x: Tensor) -> Tensor:
    # "M O C", "M O"
    weight, bias = call.tensors["weight"], call.tensors.get("bias")
    if x.ndim > 3 or (call.shared and x.ndim > 2):
        raise NotStackableError(f"a linear layer gets examples of {x.ndim - 1} dimensions")
    if x.ndim == 2 and not call.shared:
        raise NotStackableError("code between the layers reshapes what a linear layer gets")
    if call.shared:  # one product a model: in one product for all, the rows of a model would depend on the others
        x = x.T.expand(call.models, -1, -1)
    if call.models < MIN_STACK:
        weight, x = weight.expand(MIN_STACK, -1, -1), x.expand(MIN_STACK, -1, -1)
    # "M O C" times "M C N"
    out = torch.bmm(weight, x) if bias is None else torch.baddbmm(bias.unsqueeze(2), weight, x)
    return out[: call.models]


def _convolution(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)
    if layer.padding_mode != "zeros":
        raise NotStackableError(f"a convolution pads with {layer.padding_mode}")
    weight, bias = call.tensors["weight"].flatten(0, 1), call.get("bias")
    if call.shared and layer.groups == 1:  # one convolution from C to M x O channels
        return convolve(layer, x, weight, bias, 1)
    return convolve_models(layer, call.per_model(x), weight, bias, call.models)


def _batch_norm(call: LayerCall, x: Tensor) -> Tensor:
    x = call.per_model(x)
    # "M C N" -> "1 MC N"
    flat = x.reshape(1, -1, x.shape[2]) if call.is_of_vectors else x
    out = _normalise_batch(call, flat)
    return out.view(x.shape) if call.is_of_vectors else out


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


def _ghost_batch_norm(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, GhostBatchNorm)
    x = call.per_model(x)
    # "M C N" -> "1 MC N"
    flat = x.reshape(1, -1, x.shape[2]) if call.is_of_vectors else x
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


def _instance_norm(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, nn.InstanceNorm1d | nn.InstanceNorm2d)
    if layer.track_running_stats:
        raise NotStackableError("an instance norm keeps running statistics")
    x, weight, bias = call.per_model(x), call.get("weight"), call.get("bias")
    # Under autocast in single precision, as torch's kernel does inside.
    out = F.instance_norm(x.to(torch.promote_types(x.dtype, torch.float32)), eps=layer.eps)
    if weight is not None and bias is not None:
        # By ourselves: torch adds up the gradient of the scale in an order that the number of models decides.
        per_channel = (-1, *[1] * (out.ndim - 2))
        out = torch.addcmul(bias.view(per_channel), out, weight.view(per_channel))
    return out.to(x.dtype)


def _group_norm(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, nn.GroupNorm)
    x = call.per_model(x)
    if not call.is_of_vectors:
        return F.group_norm(x, call.models * layer.num_groups, call.get("weight"), call.get("bias"), layer.eps)
    # "M C N" -> "M G C/G N"
    groups = x.view(call.models, layer.num_groups, -1, x.shape[2])
    return _scale_and_shift(call, standardise(groups, layer.eps).view(x.shape), 2)


def _layer_norm(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, nn.LayerNorm)
    x = call.per_model(x)
    if call.is_of_vectors:
        # "M C N" -> "M 1 C N"
        return _scale_and_shift(call, standardise(x.unsqueeze(1), layer.eps).view(x.shape), 2)
    out = F.layer_norm(call.unfold_models(x), layer.normalized_shape, eps=layer.eps)
    return _scale_and_shift(call, out, 0).flatten(1, 2)


def _rms_norm(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, RMSNorm)
    x = call.per_model(x)
    if call.is_of_vectors:
        return _scale_and_shift(call, over_root_mean_square(x, (1,), layer.eps), 2)
    # "N M C ...", each example of each model by itself
    examples = call.unfold_models(x)
    out = over_root_mean_square(examples, tuple(range(2, examples.ndim)), layer.eps).flatten(1, 2)
    scale = call.get("weight")
    return out if scale is None else out * scale.view(-1, *[1] * (out.ndim - 2))


def _scale_and_shift(call: LayerCall, x: Tensor, dim: int) -> Tensor:
    """Each model's scale and shift, the same along the dimension `dim` of x."""
    if "weight" not in call.tensors:
        return x
    weight = call.tensors["weight"].unsqueeze(dim)
    return torch.addcmul(call.tensors["bias"].unsqueeze(dim), x, weight) if "bias" in call.tensors else x * weight


def _flatten(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, nn.Flatten)
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise NotStackableError("a Flatten keeps some dimensions")
    if call.shared:
        return x.flatten(1)
    # "N MC ..." -> "M C... N"
    return x if call.is_of_vectors else x.reshape(len(x), call.models, -1).permute(1, 2, 0)


def _dropout(call: LayerCall, x: Tensor) -> Tensor:
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


def _residual_scale(call: LayerCall, x: Tensor) -> Tensor:
    x = call.per_model(x)
    scale = call.tensors["weight"]  # "M 1"
    if call.is_of_vectors:
        return x * scale.unsqueeze(2)
    per_channel = scale.expand(-1, x.shape[1] // call.models).reshape(-1, *[1] * (x.ndim - 2))
    return x * per_channel  # its gradient is added up channel by channel, for one model as for many


def _shortcut(call: LayerCall, x: Tensor) -> Tensor:
    images: Tensor = call.layer(call.unfold_models(call.per_model(x)))
    return images.flatten(1, 2)


def _with_standardised_weights(call: LayerCall, x: Tensor) -> Tensor:
    weight = call.tensors["weight"]
    tensors = {**call.tensors, "weight": standardised(weight.flatten(0, 1)).view_as(weight)}
    return UNSTANDARDISED[type(call.layer)](replace(call, tensors=tensors), x)


def _mapped(call: LayerCall, x: Tensor) -> Tensor:
    """A layer whose output has the shape of its input, mapped over the models."""

    def one(tensors: Mapping[str, Tensor], examples: Tensor) -> Tensor:
        out: Tensor = functional_call(call.layer, dict(tensors), (examples,))
        return out

    x = call.per_model(x)
    if call.is_of_vectors:
        # "M C N" -> "M N C" and back
        return vmap(one)(dict(call.tensors), x.transpose(1, 2)).transpose(1, 2)
    return vmap(one, (0, 1), 1)(dict(call.tensors), call.unfold_models(x)).flatten(1, 2)


DROPOUTS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Dropout: F.dropout,
    nn.Dropout1d: F.dropout1d,
    nn.Dropout2d: F.dropout2d,
}  # as on a GPU

LAYERS: dict[type[nn.Module], LayerFn] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    GhostBatchNorm: _ghost_batch_norm,
    nn.InstanceNorm1d: _instance_norm,
    nn.InstanceNorm2d: _instance_norm,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    RMSNorm: _rms_norm,
    ResidualScale: _residual_scale,
    Shortcut: _shortcut,
    nn.Flatten: _flatten,
    **dict.fromkeys(DROPOUTS, _dropout),
    **dict.fromkeys(STANDARDISED.values(), _with_standardised_weights),
}
UNSTANDARDISED = {special: LAYERS[plain] for plain, special in STANDARDISED.items()}


def stacked_form(layer: nn.Module) -> LayerFn | None:
    """What such a layer of all models computes; None where that isn't known."""
    if type(layer) in LAYERS:
        return LAYERS[type(layer)]
    # The batches that a norm counts can't be told apart under vmap.
    return _mapped if isinstance(layer, NORM_LAYERS) and not isinstance(layer, _NormBase) else None
