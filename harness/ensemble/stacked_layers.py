"""Known layers of M models as one layer each: the same arithmetic, in a layout that needs no copies.

Vectors lie as "M C N" (models, channels, examples): a linear layer is a batched matrix product, and a batch norm of all
models is one batch norm over M x C channels, which is a view. Signals and images lie as "N MC L" and "N MC H W": a
convolution is one with M times the groups. Examples that all models share come as "N ...", until a layer with weights
gives each model its own.

To add a layer: one entry in LAYERS, a function of the layer, its stacked tensors and its input. Layers that treat each
number or each channel by itself (activations, pooling, dropout) need none: they don't see that there are many models.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.ensemble.standardise import standardise
from harness.nn.ghost_batch_norm import GhostBatchNorm, normalise_groups
from harness.nn.layers import STANDARDISED, ResidualScale, RMSNorm, Shortcut, over_root_mean_square, standardised


class NotStackableError(Exception):
    """A model can't be put together from stacked layers; says why."""


@dataclass(slots=True)
class BatchLayout:
    """What the layers of a stack must know of the examples that it is run on."""

    input_shape: tuple[int, ...]  # the shape of one, as the whole model gets it
    sizes: frozenset[int]  # of channels and features, of all layers
    shared: bool = False  # whether all models get the same now: the stack says it each time it is run

    def is_ambiguous(self, count: int, models: int) -> bool:
        """Whether what a layer makes of so many shared examples may have their shape, and be mistaken for them."""
        return len(self.input_shape) > 1 and any(
            (size, count) == self.input_shape or size * models == self.input_shape[0] for size in self.sizes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCall:
    """One layer of all models."""

    layer: nn.Module  # the plain layer, without weights: what it was made with
    tensors: Mapping[str, Tensor]  # name in the layer -> "M ..."
    models: int
    layout: BatchLayout
    training: bool

    def get(self, name: str) -> Tensor | None:
        """The stacked tensor of that name with models and channels as one dimension, None where there is none."""
        return self.tensors[name].flatten(0, 1) if name in self.tensors else None

    def is_shared(self, x: Tensor) -> bool:
        """Whether these are the examples themselves or their pixels in a row, the same for all models."""
        return x.ndim == 2 or (self.layout.shared and tuple(x.shape[1:]) == self.layout.input_shape)

    def per_model(self, x: Tensor) -> Tensor:
        """The input in the layout of stacked layers, also where it was shared."""
        return expand_models(x, self.models) if self.is_shared(x) else x


def expand_models(x: Tensor, models: int) -> Tensor:
    """Shared examples "N ..." as if each model had its own."""
    return to_stacked_layout(x.unsqueeze(1).expand(-1, models, *x.shape[1:]))


def to_stacked_layout(x: Tensor) -> Tensor:
    """Each model's examples "N M ..." as stacked layers have them: "M C N", or "N MC ..." for signals and images."""
    return x.permute(1, 2, 0) if x.ndim == 3 else x.flatten(1, 2)


def _linear(leaf: LayerCall, x: Tensor) -> Tensor:
    weight, bias = leaf.tensors["weight"], leaf.tensors.get("bias")
    if x.ndim == 2:  # one matrix product for all models
        flat = weight.flatten(0, 1)
        out = flat @ x.T if bias is None else torch.addmm(bias.flatten().unsqueeze(1), flat, x.T)
        return out.view(*weight.shape[:2], -1)
    if x.ndim != 3:
        raise NotStackableError(f"a linear layer gets examples of {x.ndim - 1} dimensions")
    return torch.bmm(weight, x) if bias is None else torch.baddbmm(bias.unsqueeze(2), weight, x)


def _convolution(leaf: LayerCall, x: Tensor) -> Tensor:
    layer = leaf.layer
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)
    if layer.padding_mode != "zeros":
        raise NotStackableError(f"a convolution pads with {layer.padding_mode}")
    shared = leaf.is_shared(x) and layer.groups == 1
    groups = 1 if shared else leaf.models * layer.groups
    convolve = F.conv1d if isinstance(layer, nn.Conv1d) else F.conv2d
    out: Tensor = convolve(
        x if shared else leaf.per_model(x), leaf.tensors["weight"].flatten(0, 1), leaf.get("bias"),
        layer.stride, layer.padding, layer.dilation, groups,
    )  # fmt: skip
    return out


def _batch_norm(leaf: LayerCall, x: Tensor) -> Tensor:
    layer = leaf.layer
    assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    x = leaf.per_model(x)
    vectors = _are_vectors(leaf, x, layer.num_features)
    flat = x.reshape(1, -1, x.shape[2]) if vectors else x
    out = _normalise_batch(leaf, layer, flat)
    return out.view(x.shape) if vectors else out


def _normalise_batch(leaf: LayerCall, layer: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    weight, bias, mean, var = (leaf.get(name) for name in ("weight", "bias", "running_mean", "running_var"))
    if not leaf.training or mean is None or var is None:
        return F.batch_norm(x, mean, var, weight, bias, mean is None, 0.0, layer.eps)
    seen = leaf.tensors["num_batches_tracked"].add_(1)
    if layer.momentum is not None:
        return F.batch_norm(x, mean, var, weight, bias, True, layer.momentum, layer.eps)
    # The average of all batches: with a momentum of 1 the statistics of this batch alone are what comes back.
    mean_now, var_now = mean.clone(), var.clone()
    out = F.batch_norm(x, mean_now, var_now, weight, bias, True, 1.0, layer.eps)
    share = seen.to(mean.dtype).reciprocal().repeat_interleave(layer.num_features)
    mean.lerp_(mean_now, share)
    var.lerp_(var_now, share)
    return out


def _ghost_batch_norm(leaf: LayerCall, x: Tensor) -> Tensor:
    layer = leaf.layer
    assert isinstance(layer, GhostBatchNorm)
    x = leaf.per_model(x)
    vectors = _are_vectors(leaf, x, layer.num_features)
    flat = x.reshape(1, -1, x.shape[2]) if vectors else x
    weight, bias, mean, var = (leaf.get(name) for name in ("weight", "bias", "running_mean", "running_var"))
    if not leaf.training and mean is not None:
        return F.batch_norm(flat, mean, var, weight, bias, False, 0.0, layer.eps).view(x.shape)
    share: Tensor | float = 0.0
    if leaf.training and mean is not None:
        seen = leaf.tensors["num_batches_tracked"].add_(1)
        average = seen.to(mean.dtype).reciprocal().repeat_interleave(layer.num_features)
        share = average if layer.momentum is None else layer.momentum
    out = normalise_groups(
        flat, (mean, var), (weight, bias), norm_batch=layer.norm_batch, eps=layer.eps, share=share, dim=2 * vectors
    )
    return out.view(x.shape)


def _instance_norm(leaf: LayerCall, x: Tensor) -> Tensor:
    layer = leaf.layer
    assert isinstance(layer, nn.InstanceNorm1d | nn.InstanceNorm2d)
    if layer.track_running_stats:
        raise NotStackableError("an instance norm keeps running statistics")
    return F.instance_norm(leaf.per_model(x), weight=leaf.get("weight"), bias=leaf.get("bias"), eps=layer.eps)


def _group_norm(leaf: LayerCall, x: Tensor) -> Tensor:
    layer = leaf.layer
    assert isinstance(layer, nn.GroupNorm)
    x = leaf.per_model(x)
    if not _are_vectors(leaf, x, layer.num_channels):
        return F.group_norm(x, leaf.models * layer.num_groups, leaf.get("weight"), leaf.get("bias"), layer.eps)
    groups = x.view(leaf.models, layer.num_groups, -1, x.shape[2])
    return _affine(leaf, standardise(groups, layer.eps).view(x.shape), 2)


def _layer_norm(leaf: LayerCall, x: Tensor) -> Tensor:
    layer = leaf.layer
    assert isinstance(layer, nn.LayerNorm)
    x = leaf.per_model(x)
    if x.ndim == 3 and len(layer.normalized_shape) == 1:
        return _affine(leaf, standardise(x.unsqueeze(1), layer.eps).view(x.shape), 2)
    examples = x.reshape(len(x), leaf.models, -1, *x.shape[2:])
    return _affine(leaf, F.layer_norm(examples, layer.normalized_shape, eps=layer.eps), 0).flatten(1, 2)


def _rms_norm(leaf: LayerCall, x: Tensor) -> Tensor:
    layer = leaf.layer
    assert isinstance(layer, RMSNorm)
    x = leaf.per_model(x)
    if _are_vectors(leaf, x, layer.channels):
        return _affine(leaf, over_root_mean_square(x, (1,), layer.eps), 2)
    examples = x.reshape(len(x), leaf.models, -1, *x.shape[2:])
    out = over_root_mean_square(examples, tuple(range(2, examples.ndim)), layer.eps).flatten(1, 2)
    scale = leaf.get("weight")
    return out if scale is None else out * scale.view(-1, *[1] * (out.ndim - 2))


def _affine(leaf: LayerCall, x: Tensor, dim: int) -> Tensor:
    """Each model's scale and shift, the same along the dimension `dim` of x."""
    if "weight" not in leaf.tensors:
        return x
    weight = leaf.tensors["weight"].unsqueeze(dim)
    return torch.addcmul(leaf.tensors["bias"].unsqueeze(dim), x, weight) if "bias" in leaf.tensors else x * weight


def _flatten(leaf: LayerCall, x: Tensor) -> Tensor:
    layer = leaf.layer
    assert isinstance(layer, nn.Flatten)
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise NotStackableError("a Flatten keeps some dimensions")
    if leaf.is_shared(x):
        return x.flatten(1)
    return x.reshape(len(x), leaf.models, -1).permute(1, 2, 0)


def _are_vectors(leaf: LayerCall, x: Tensor, channels: int) -> bool:
    return x.ndim == 3 and x.shape[:2] == (leaf.models, channels)


def _branch_scale(leaf: LayerCall, x: Tensor) -> Tensor:
    x = leaf.per_model(x)
    scale = leaf.tensors["weight"]  # "M 1"
    if leaf.layer.spatial_dims == 0:
        return x * scale.unsqueeze(2)
    own = x.reshape(len(x), leaf.models, -1, *x.shape[2:])
    return (own * scale.view(-1, *[1] * (x.ndim - 1))).flatten(1, 2)


def _shortcut(leaf: LayerCall, x: Tensor) -> Tensor:
    x = leaf.per_model(x)
    images: Tensor = leaf.layer(x.reshape(len(x), leaf.models, -1, *x.shape[2:]))
    return images.flatten(1, 2)


def _with_standardised_weights(leaf: LayerCall, x: Tensor) -> Tensor:
    weight = leaf.tensors["weight"]
    used = {**leaf.tensors, "weight": standardised(weight.flatten(0, 1)).view_as(weight)}
    return UNSTANDARDISED[type(leaf.layer)](replace(leaf, tensors=used), x)


LAYERS: dict[type[nn.Module], Callable[[LayerCall, Tensor], Tensor]] = {
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
    ResidualScale: _branch_scale,
    Shortcut: _shortcut,
    nn.Flatten: _flatten,
    **dict.fromkeys(STANDARDISED.values(), _with_standardised_weights),
}
UNSTANDARDISED = {special: LAYERS[plain] for plain, special in STANDARDISED.items()}


class StackedLayer(nn.Module):
    """A layer of all models, in the place of the plain one."""

    def __init__(self, layer: nn.Module, tensors: Mapping[str, Tensor], models: int, layout: BatchLayout) -> None:
        super().__init__()
        self.plain = (layer,)  # in a tuple, so that its weights are not taken for this module's own
        self.tensors = dict(tensors)
        self.models, self.layout = models, layout

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output for all models."""
        (layer,) = self.plain
        leaf = LayerCall(
            layer=layer, tensors=self.tensors, models=self.models, layout=self.layout, training=self.training
        )  # fmt: skip
        return LAYERS[type(layer)](leaf, x)


def stack_layers(model: nn.Module, tensors: Mapping[str, Tensor], layout: BatchLayout) -> nn.Module:
    """A copy of the model whose layers are those of all models, with the stacked `tensors` of these names.

    NotStackableError where a layer holds weights and is none of LAYERS.
    """
    models = len(next(iter(tensors.values())))
    swapped: dict[int, nn.Module] = {}
    copy = deepcopy(model).to("meta")
    for name, layer in list(copy.named_modules()):
        own = [n for n, _ in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))]
        prefix = f"{name}." if name else ""
        if type(layer) in LAYERS:
            if missing := [n for n in own if prefix + n not in tensors]:
                raise NotStackableError(f"{name}.{missing[0]} belongs to two layers")
            swapped[id(layer)] = StackedLayer(layer, {n: tensors[prefix + n] for n in own}, models, layout)
        elif own:
            raise NotStackableError(f"{type(layer).__name__} is not among the layers that can be stacked")
    if id(copy) in swapped:
        return swapped[id(copy)]
    for parent in list(copy.modules()):
        for name, child in list(parent.named_children()):
            if id(child) in swapped:
                setattr(parent, name, swapped[id(child)])
    return copy
