"""The layers of a plain module in the order in which they run, each with the norm and the nonlinearity behind it.

They are found by running the module once. What a module does without a submodule (a call of `F.relu`) is not seen. To
add a nonlinearity: one entry in NONLINEARITIES.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.nn.init import WEIGHTED
from harness.nn.layers import STANDARDISED
from harness.nn.norms import NORM_LAYERS


@dataclass(frozen=True, slots=True)
class Nonlinearity:
    """What a nonlinearity makes of its input, as far as units can be lost to it."""

    slope: Callable[[Tensor], Tensor] | None = None  # over the largest there is, where both ends are flat
    dies: bool = False  # whether it is zero below zero


NONLINEARITIES: dict[type[nn.Module], Nonlinearity] = {
    nn.ReLU: Nonlinearity(dies=True),
    nn.ReLU6: Nonlinearity(dies=True),
    nn.Sigmoid: Nonlinearity(slope=lambda x: 4 * x.sigmoid() * (-x).sigmoid()),
    nn.Tanh: Nonlinearity(slope=lambda x: 1 - x.tanh().square()),
    **dict.fromkeys((nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Softplus), Nonlinearity()),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A linear layer or convolution, and what runs between it and the next."""

    name: str  # of the module, whose weight is f"{name}.weight"
    is_scale_free: (
        bool  # whether twice its weights are the same to the loss, up to eps: there is a norm behind or in it
    )
    norm: str | None = None  # the name of the first norm behind it
    has_running_stats: bool = False  # whether that is a batch norm with running statistics
    nonlinearity: Nonlinearity | None = None  # the first behind it
    call: int = -1  # which of all calls of nonlinearities that is, from 0


def layers_of(model: nn.Module, inputs: tuple[int, ...]) -> tuple[Layer, ...]:
    """The layers with weights, input side first; one that runs twice counts where it runs first."""
    model = deepcopy(model).eval()
    names = {module: name for name, module in model.named_modules()}
    ran: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda module, given, out: ran.append(module))
        for module in names
        if isinstance(module, (*WEIGHTED, *NORM_LAYERS)) or type(module) in NONLINEARITIES
    ]
    like = next(model.parameters())
    with torch.no_grad():
        model(torch.zeros(2, *inputs, device=like.device, dtype=like.dtype))
    for hook in hooks:
        hook.remove()
    return _group_layers(ran, names)


def _group_layers(ran: list[nn.Module], names: dict[nn.Module, str]) -> tuple[Layer, ...]:
    layers: dict[str, Layer] = {}
    last, calls = "", 0
    for module in ran:
        name = names[module]
        if isinstance(module, WEIGHTED):
            last = "" if name in layers else name
            if last:
                layers[last] = Layer(name=name, is_scale_free=isinstance(module, tuple(STANDARDISED.values())))
        elif isinstance(module, NORM_LAYERS):
            if last and layers[last].norm is None and layers[last].nonlinearity is None:
                tracks = isinstance(module, _BatchNorm) and module.running_mean is not None
                layers[last] = replace(layers[last], norm=name, has_running_stats=tracks, is_scale_free=True)
        else:
            if last and layers[last].nonlinearity is None:
                layers[last] = replace(layers[last], nonlinearity=NONLINEARITIES[type(module)], call=calls)
            calls += 1
    return tuple(layers.values())


@contextmanager
def seeing_inputs(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the input of every call of a nonlinearity, as long as this lasts."""
    seen: list[Tensor] = []

    def see(module: nn.Module, given: tuple[Any, ...]) -> None:  # noqa: ARG001
        seen.append(given[0].detach().clone())  # the module may overwrite it

    hooks = [m.register_forward_pre_hook(see) for m in model.modules() if type(m) in NONLINEARITIES]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
