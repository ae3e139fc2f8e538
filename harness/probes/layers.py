"""The layers of a plain module in the order in which they run, each with the norm and the nonlinearity after it.

They are found by running the module once with hooks. What a module does without a submodule (a call of `F.relu`) is not
seen. To add a nonlinearity: one entry in NONLINEARITIES.
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
from harness.nn.module_state import example_zeros, parameters_of
from harness.nn.norm_layers.dynamic_tanh import DynamicTanh
from harness.nn.norm_layers.evonorm import EvoNormS0
from harness.nn.norm_layers.scaled_weights import SCALED
from harness.nn.norms import NORM_LAYERS
from harness.probes.scale_free import weights_before_norms


@dataclass(frozen=True, slots=True)
class Nonlinearity:
    """What decides whether units saturate or die."""

    slope: Callable[[Tensor], Tensor] | None = None  # as a share of its largest, where both ends are flat
    dies: bool = False  # whether it is zero below zero


NONLINEARITIES: dict[type[nn.Module], Nonlinearity] = {
    nn.ReLU: Nonlinearity(dies=True),
    nn.ReLU6: Nonlinearity(dies=True),
    nn.Sigmoid: Nonlinearity(slope=lambda x: 4 * x.sigmoid() * (-x).sigmoid()),
    nn.Tanh: Nonlinearity(slope=lambda x: 1 - x.tanh().square()),
    **dict.fromkeys((nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Softplus), Nonlinearity()),
}


SCALE_FREE_LAYERS = (*STANDARDISED.values(), *SCALED.values())  # they norm their own weights
SCALE_BOUND_NORMS = (DynamicTanh, EvoNormS0)  # twice their input is another output


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A linear layer or convolution, and what runs between it and the next."""

    name: str  # of the module
    is_scale_free: bool  # whether twice its weights give the same loss, up to eps: see scale_free.py, or a norm in it
    norm: str | None = None  # the name of the first norm after it
    has_running_stats: bool = False  # whether that is a batch norm with running statistics
    nonlinearity: Nonlinearity | None = None  # the first after it
    call: int = -1  # which of all calls of nonlinearities that is, from 0

    @property
    def weight(self) -> str:
        """The name of its weight."""
        return f"{self.name}.weight"

    @property
    def has_nonlinearity(self) -> bool:
        """Whether there is one before the next layer."""
        return self.nonlinearity is not None

    @property
    def can_saturate(self) -> bool:
        """Whether its nonlinearity is flat at both ends."""
        return self.nonlinearity is not None and self.nonlinearity.slope is not None

    @property
    def can_die(self) -> bool:
        """Whether its nonlinearity is zero below zero."""
        return self.nonlinearity is not None and self.nonlinearity.dies


def layers_of(model: nn.Module, input_shape: tuple[int, ...]) -> tuple[Layer, ...]:
    """The layers with weights that train, input side first; a weight that runs twice counts where it runs first.

    A layer whose weight is computed (a parametrisation) has none of its own to look at.
    """
    model = deepcopy(model).eval()
    names = {module: name for name, module in model.named_modules()}
    ran: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda module, args, output: ran.append(module))
        for module in names
        if isinstance(module, (*WEIGHTED, *NORM_LAYERS)) or type(module) in NONLINEARITIES
    ]
    x = example_zeros(model, 2, input_shape)
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    trained = {name for name, parameter in parameters_of(model).items() if parameter.requires_grad}
    norms = [
        module for module in names if isinstance(module, NORM_LAYERS) and not isinstance(module, SCALE_BOUND_NORMS)
    ]
    return _group_layers(ran, names, trained, weights_before_norms(model, x, WEIGHTED, norms))


def _group_layers(
    ran: list[nn.Module], names: dict[nn.Module, str], trained: set[str], before_norms: frozenset[int]
) -> tuple[Layer, ...]:
    layers: dict[str, Layer] = {}
    last, calls = "", 0
    for module in ran:
        name = names[module]
        if isinstance(module, WEIGHTED):
            last = "" if name in layers or f"{name}.weight" not in trained else name
            if last:
                is_scale_free = isinstance(module, SCALE_FREE_LAYERS) or id(module.weight) in before_norms
                layers[last] = Layer(name=name, is_scale_free=is_scale_free)
        elif isinstance(module, NORM_LAYERS):
            if last and layers[last].norm is None and layers[last].nonlinearity is None:
                tracks_stats = isinstance(module, _BatchNorm) and module.running_mean is not None
                layers[last] = replace(layers[last], norm=name, has_running_stats=tracks_stats)
        else:
            if last and layers[last].nonlinearity is None:
                layers[last] = replace(layers[last], nonlinearity=NONLINEARITIES[type(module)], call=calls)
            calls += 1
    return tuple(layers.values())


@contextmanager
def record_inputs(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the input of every call of a nonlinearity within this context."""
    inputs: list[Tensor] = []

    def record(module: nn.Module, args: tuple[Any, ...]) -> None:  # noqa: ARG001
        inputs.append(args[0].detach().clone())  # the module may overwrite it

    hooks = [module.register_forward_pre_hook(record) for module in model.modules() if type(module) in NONLINEARITIES]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()
