"""Norms over each example by itself."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.ensemble.backends.base import NotStackableError
from harness.ensemble.backends.stacked_layers.call import LayerCall, LayerFn
from harness.ensemble.backends.standardise import standardise
from harness.nn.layers import RMSNorm, over_root_mean_square
from harness.nn.norm_layers.dynamic_tanh import DynamicTanh
from harness.nn.norm_layers.evonorm import EvoNormS0, over_deviation
from harness.nn.norm_layers.filter_response_norm import FilterResponseNorm, filter_response


def instance_norm(call: LayerCall, x: Tensor) -> Tensor:
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


def group_norm(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, nn.GroupNorm)
    x = call.per_model(x)
    if not call.is_of_vectors:
        return F.group_norm(x, call.models * layer.num_groups, call.get("weight"), call.get("bias"), layer.eps)
    # "M C N" -> "M G C/G N"
    groups = x.view(call.models, layer.num_groups, -1, x.shape[2])
    return _scale_and_shift(call, standardise(groups, layer.eps).view(x.shape), 2)


def layer_norm(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, nn.LayerNorm)
    x = call.per_model(x)
    if call.is_of_vectors:
        # "M C N" -> "M 1 C N"
        return _scale_and_shift(call, standardise(x.unsqueeze(1), layer.eps).view(x.shape), 2)
    out = F.layer_norm(call.unfold_models(x), layer.normalized_shape, eps=layer.eps)
    return _scale_and_shift(call, out, 0).flatten(1, 2)


def rms_norm(call: LayerCall, x: Tensor) -> Tensor:
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


def dynamic_tanh(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, DynamicTanh)
    x, alpha = call.per_model(x), call.tensors["alpha"]  # "M 1"
    if call.is_of_vectors:
        return _scale_and_shift(call, torch.tanh(alpha.unsqueeze(2) * x), 2)
    if layer.channels_last:
        # "N M ... C"
        examples = call.unfold_models(x)
        per_model = (call.models, *[1] * (examples.ndim - 3), -1)
        out = torch.tanh(alpha.view(per_model) * examples)
        if "weight" in call.tensors:
            scale, shift = (call.tensors[name].view(per_model) for name in ("weight", "bias"))
            out = torch.addcmul(shift, out, scale)
        return out.flatten(1, 2)
    per_channel = (-1, *[1] * (x.ndim - 2))
    out = torch.tanh(alpha.expand(-1, x.shape[1] // call.models).reshape(per_channel) * x)
    weight, bias = call.get("weight"), call.get("bias")
    if weight is None or bias is None:
        return out
    return torch.addcmul(bias.view(per_channel), out, weight.view(per_channel))


def filter_response_norm(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, FilterResponseNorm)
    weight, bias, threshold = (call.get(name) for name in ("weight", "bias", "threshold"))
    return filter_response(call.per_model(x), (weight, bias, threshold), layer.eps)


def evonorm_s0(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, EvoNormS0)
    x = call.per_model(x)
    if call.is_of_vectors:
        out = x * torch.sigmoid(call.tensors["v"].unsqueeze(2) * x)
        # "M C N" -> "M G C/G N"
        grouped = (call.models, layer.groups, -1, x.shape[2])
        return _scale_and_shift(call, over_deviation(out, x, grouped, (2,), layer.eps), 2)
    v, weight, bias = (call.get(name) for name in ("v", "weight", "bias"))
    assert v is not None
    per_channel = (-1, *[1] * (x.ndim - 2))
    out = x * torch.sigmoid(v.view(per_channel) * x)
    out = over_deviation(out, x, (len(x), call.models * layer.groups, -1), (2,), layer.eps)
    if weight is None or bias is None:
        return out
    return torch.addcmul(bias.view(per_channel), out, weight.view(per_channel))


FORMS: dict[type[nn.Module], LayerFn] = {
    nn.InstanceNorm1d: instance_norm,
    nn.InstanceNorm2d: instance_norm,
    nn.GroupNorm: group_norm,
    nn.LayerNorm: layer_norm,
    RMSNorm: rms_norm,
    DynamicTanh: dynamic_tanh,
    FilterResponseNorm: filter_response_norm,
    EvoNormS0: evonorm_s0,
}
