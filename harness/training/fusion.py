"""Many models as one program: their parameters stacked, their forward pass mapped over the stack.

The models stay the plain modules that they are; `torch.func` calls one of them with the parameters of all. A stack of
one is padded to two: a stack of one takes other kernels, whose last bits differ.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

FEWEST = 2  # models in a stack


@dataclass(frozen=True, slots=True)
class Stack:
    """M models as one: tensors with the models as their first dimension, and a module that says how to use them."""

    base: nn.Module  # without weights, on the meta device
    weights: dict[str, Tensor]  # name -> "M ...", each with a gradient
    buffers: dict[str, Tensor]
    cumulative: tuple[_BatchNorm, ...]  # layers of `base` whose running statistics average all batches
    draws: bool  # whether the forward pass draws random numbers (dropout)

    @property
    def size(self) -> int:
        """How many models there are, padding included."""
        return len(next(iter(self.weights.values())))

    def __call__(self, x: Tensor, *, shared: bool) -> Float[Tensor, "M N K"]:
        """Each model's output: for its own examples "M N ...", or for examples "N ..." that all of them share."""
        forward = vmap(self._one, in_dims=(0, 0, None if shared else 0), randomness="different")
        out: Tensor = forward(self.weights, self.buffers, x)
        return out

    def _one(self, weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        out: Tensor = functional_call(self.base, (weights, buffers), (x,))
        return out

    def count_batches(self, step: int) -> None:
        """Tell cumulative batch norms how many batches came before: torch would read a counter, which vmap can't."""
        for layer in self.cumulative:
            layer.momentum = 1 / (step + 1)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode, without gradients."""
        self.base.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.base.train()


def fuse(models: Sequence[nn.Module], device: torch.device) -> Stack:
    """The models, equal in all but the values of their parameters, as one program on a device."""
    models = [*models, *[models[-1]] * (FEWEST - len(models))]
    weights, buffers = stack_module_state(models)
    base = deepcopy(models[0]).to("meta").train()
    return Stack(
        base,
        {name: weight.detach().to(device).requires_grad_() for name, weight in weights.items()},
        {name: buffer.to(device) for name, buffer in buffers.items()},
        tuple(layer for layer in base.modules() if isinstance(layer, _BatchNorm) and layer.momentum is None),
        any(isinstance(layer, _DropoutNd) for layer in base.modules()),
    )
