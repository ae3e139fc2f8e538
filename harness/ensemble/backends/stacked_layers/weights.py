"""Linear layers and convolutions, with weights as they are or standardised."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from harness.ensemble.backends.base import NotStackableError
from harness.ensemble.backends.convolution import convolve, convolve_models
from harness.ensemble.backends.stacked_layers.call import LayerCall, LayerFn
from harness.nn.layers import STANDARDISED, standardised
from harness.nn.norm_layers.scaled_weights import SCALED, scaled

MIN_STACK = 2  # models of a product: for one torch takes other kernels, whose last bits differ


def linear(call: LayerCall, x: Tensor) -> Tensor:
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


def convolution(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)
    if layer.padding_mode != "zeros":
        raise NotStackableError(f"a convolution pads with {layer.padding_mode}")
    weight, bias = call.tensors["weight"].flatten(0, 1), call.get("bias")
    if call.shared and layer.groups == 1:  # one convolution from C to M x O channels
        return convolve(layer, x, weight, bias, 1)
    return convolve_models(layer, call.per_model(x), weight, bias, call.models)


def with_standardised_weights(compute: LayerFn) -> LayerFn:
    """The form of a layer that standardises its weights first."""

    def form(call: LayerCall, x: Tensor) -> Tensor:
        weight = call.tensors["weight"]
        tensors = {**call.tensors, "weight": standardised(weight.flatten(0, 1)).view_as(weight)}
        return compute(replace(call, tensors=tensors), x)

    return form


def with_scaled_weights(compute: LayerFn) -> LayerFn:
    """The form of a layer that standardises its weights first and scales them by its gain."""

    def form(call: LayerCall, x: Tensor) -> Tensor:
        weight, gain = call.tensors["weight"], call.get("gain")
        factor: float = call.layer.factor  # type: ignore[assignment]
        tensors = {**call.tensors, "weight": scaled(weight.flatten(0, 1), gain, factor).view_as(weight)}
        return compute(replace(call, tensors=tensors), x)

    return form


PLAIN: dict[type[nn.Module], LayerFn] = {nn.Linear: linear, nn.Conv1d: convolution, nn.Conv2d: convolution}
FORMS: dict[type[nn.Module], LayerFn] = {
    **PLAIN,
    **{special: with_standardised_weights(PLAIN[plain]) for plain, special in STANDARDISED.items()},
    **{special: with_scaled_weights(PLAIN[plain]) for plain, special in SCALED.items()},
}
