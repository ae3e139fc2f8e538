"""Known layers of M models as one layer each, where channels come last: sequences "M N L C", or any "M N ... C".

Code between such layers that counts dimensions from the end, as attention does, does not see the models in front. What
gives a layer its own sequences is written down when examples are traced: see ../stacked_module.py.

To add a layer: one entry in SEQUENCE_LAYERS, a function of the call and its input "M N ...".
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.ensemble.backends.base import NotStackableError
from harness.ensemble.backends.stacked_layers.call import LayerCall, LayerFn
from harness.ensemble.backends.stacked_layers.weights import MIN_STACK, with_scaled_weights, with_standardised_weights
from harness.ensemble.backends.stacked_layers.without_weights import check_flattens_all
from harness.nn.layers import ResidualScale, StandardisedLinear
from harness.nn.norm_inputs import ChannelsLast
from harness.nn.norm_layers.dynamic_tanh import DynamicTanh
from harness.nn.norm_layers.scaled_weights import ScaledLinear
from harness.nn.sequences.layers import LSTMLayer, Patches, Positions, TokenEmbedding


def examples_as_sequences(call: LayerCall, x: Tensor) -> Tensor:
    """Examples as they come to stacked layers, as "M N ..."."""
    if call.shared:
        return x.expand(call.models, *x.shape)
    # "M L N" or "N ML ..."
    return x.transpose(1, 2) if call.is_of_vectors else call.unfold_models(x).transpose(0, 1)


class _Repeat(torch.autograd.Function):
    """Numbers "M C" as "M R C", whose gradient is added up by a product.

    A sum along dimensions in the middle adds up in an order that the number of models decides.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: int) -> Tensor:
        ctx.rows = rows
        return x.unsqueeze(1).expand(-1, rows, -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """The sum over the rows."""
        models = max(len(grad), MIN_STACK)
        ones = grad.new_ones(1, 1, ctx.rows).expand(models, -1, -1)
        return torch.bmm(ones, grad.expand(models, -1, -1))[: len(grad), 0], None


def repeat(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Each model's numbers, "M ...", repeated along dimensions of these sizes behind that of the models."""
    rows: Tensor = _Repeat.apply(x.flatten(1), prod(sizes))  # type: ignore[no-untyped-call]
    return rows.view(len(x), *sizes, *x.shape[1:])


def _linear(call: LayerCall, x: Tensor) -> Tensor:
    return _products(call.tensors, x)


def _products(tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
    # "M O C", "M O"
    weight, bias = tensors["weight"], tensors.get("bias")
    models = len(weight)
    # "M NL C"
    rows = x.flatten(1, -2)
    if models < MIN_STACK:
        rows, weight = rows.expand(MIN_STACK, -1, -1), weight.expand(MIN_STACK, -1, -1)
    weight = weight.transpose(1, 2)
    if bias is None:
        out = torch.bmm(rows, weight)
    else:
        bias = bias.expand(len(rows), -1) if models < MIN_STACK else bias
        out = torch.baddbmm(repeat(bias, rows.shape[1:2]), rows, weight)
    return out[:models].view(*x.shape[:-1], -1)


def _scaled(tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Each model's scale and shift, where it has them, along the dimensions between examples and channels."""
    if "weight" not in tensors:
        return x
    weight, *bias = (
        repeat(tensors[name], x.shape[1 : 1 + x.ndim - tensors[name].ndim])
        for name in ("weight", "bias")
        if name in tensors
    )
    return torch.addcmul(bias[0], x, weight) if bias else x * weight


def _layer_norm(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, nn.LayerNorm)
    return _scaled(call.tensors, F.layer_norm(x, layer.normalized_shape, eps=layer.eps))


def _rms_norm(call: LayerCall, x: Tensor) -> Tensor:
    layer = call.layer
    assert isinstance(layer, nn.RMSNorm)
    return _scaled(call.tensors, F.rms_norm(x, layer.normalized_shape, eps=layer.eps))


def _dynamic_tanh(call: LayerCall, x: Tensor) -> Tensor:
    assert isinstance(call.layer, DynamicTanh)
    alpha = call.tensors["alpha"].expand(-1, x.shape[-1])
    return _scaled(call.tensors, _scaled({"weight": alpha}, x).tanh())


def _residual_scale(call: LayerCall, x: Tensor) -> Tensor:
    # "M 1" -> "M C": its gradient is added up channel by channel, for one model as for many
    return _scaled({"weight": call.tensors["weight"].expand(-1, x.shape[-1])}, x)


def _embedding(call: LayerCall, x: Tensor) -> Tensor:
    weight = call.tensors["weight"]
    # "M V C" as one table, "MV C", where each model's tokens follow those of the one before
    first = torch.arange(len(weight), device=x.device).mul_(weight.shape[1])
    return F.embedding(x.long() + first.view(-1, *[1] * (x.ndim - 1)), weight.flatten(0, 1))


def _flatten(call: LayerCall, x: Tensor) -> Tensor:
    check_flattens_all(call.layer)
    return x.flatten(2)


def _positions(call: LayerCall, x: Tensor) -> Tensor:
    return x + repeat(call.tensors["weight"], x.shape[1:2])


def _without_weights(call: LayerCall, x: Tensor) -> Tensor:
    out: Tensor = call.layer(x)
    return out


def _lstm(call: LayerCall, x: Tensor) -> Tensor:
    """Step by step, with the products of all models as one."""
    layer, tensors = call.layer, call.tensors
    assert isinstance(layer, LSTMLayer)
    models, examples, *_ = x.shape
    names = {"weight": "weight_ih_l0", "bias": "bias_ih_l0"}
    # "L M N 4D", the bias of the recurrent product included
    gates = _products({name: tensors[given] for name, given in names.items()}, x)
    gates = (gates + repeat(tensors["bias_hh_l0"], x.shape[1:3])).movedim(2, 0)
    recurrent = tensors["weight_hh_l0"].transpose(1, 2)
    spare = max(MIN_STACK - models, 0)
    hidden = cell = x.new_zeros(models, examples, layer.hidden_size)
    outs = []
    for step in gates.unbind():
        if spare:
            product = torch.bmm(hidden.expand(MIN_STACK, -1, -1), recurrent.expand(MIN_STACK, -1, -1))[:models]
        else:
            product = torch.bmm(hidden, recurrent)
        into, forget, new, out = (step + product).chunk(4, -1)
        cell = forget.sigmoid() * cell + into.sigmoid() * new.tanh()
        hidden = out.sigmoid() * cell.tanh()
        outs.append(hidden)
    return torch.stack(outs, 2)


class _WithContiguousGradient(torch.autograd.Function):
    """What it is given; of a gradient in another layout torch's batch norm adds up in another order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ARG004
        """The same numbers."""
        return grad.contiguous()


class SequenceNorm(nn.Module):
    """A norm of channels first over sequences of all models, in the place of ChannelsLast."""

    def __init__(self, layer: ChannelsLast, norm: nn.Module, models: int) -> None:
        super().__init__()
        self.norm, self.per_position, self.models = norm, layer.per_position, models

    def forward(self, x: Tensor) -> Tensor:
        """The normalised sequences, shaped as they came."""
        if self.per_position:
            # "M C NL" and back
            vectors: Tensor = self.norm(x.flatten(1, -2).transpose(1, 2))
            return vectors.transpose(1, 2).reshape(x.shape)
        # "N MC L" and back
        moved: Tensor = self.norm(x.movedim(-1, 2).transpose(0, 1).flatten(1, 2).contiguous())
        moved = _WithContiguousGradient.apply(moved)  # type: ignore[no-untyped-call]
        return moved.view(x.shape[1], self.models, -1, *x.shape[2:-1]).transpose(0, 1).movedim(2, -1)


SEQUENCE_LAYERS: dict[type[nn.Module], LayerFn] = {
    nn.Linear: _linear,
    StandardisedLinear: with_standardised_weights(_linear),
    ScaledLinear: with_scaled_weights(_linear),
    nn.LayerNorm: _layer_norm,
    nn.RMSNorm: _rms_norm,
    DynamicTanh: _dynamic_tanh,
    nn.Flatten: _flatten,
    ResidualScale: _residual_scale,
    TokenEmbedding: _embedding,
    Positions: _positions,
    Patches: _without_weights,
    LSTMLayer: _lstm,
}
OF_EXAMPLES = (TokenEmbedding, Patches, LSTMLayer)  # what makes sequences of examples, whatever their dimensions are


def makes_sequences(layer: nn.Module, dims: int) -> bool:
    """Whether it makes sequences of examples with so many dimensions, the batch included."""
    return isinstance(layer, OF_EXAMPLES) or (isinstance(layer, nn.Linear) and dims > 2)


def sequence_form(layer: nn.Module) -> LayerFn:
    """What such a layer of all models computes of sequences; NotStackableError where that isn't known."""
    if type(layer) not in SEQUENCE_LAYERS:
        raise NotStackableError(f"{type(layer).__name__} is not among the layers of sequences that can be stacked")
    return SEQUENCE_LAYERS[type(layer)]
