"""The plain module mapped over the models by torch.func.vmap."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import vmap

from harness.ensemble.backends.base import ModelStack, NotStackableError
from harness.ensemble.backends.dropout import SPATIAL_DIMS, MappedDropout, check_dropouts
from harness.ensemble.backends.plain import PlainModuleBackend
from harness.nn.module_state import call_with


class VmapBackend(PlainModuleBackend):
    """torch finds the batched form of each operation."""

    name = "vmap"
    note = "falls back to torch.vmap"
    refusal = "it can't be mapped"

    def __init__(self, stack: ModelStack) -> None:
        if stack.options.channels_last:
            raise NotStackableError("under vmap nothing can be said of how images lie in memory")
        check_dropouts(stack.template)
        super().__init__(stack)
        weight = next(iter(stack.weights.values()))
        self.has_spare = weight.device.type == "cpu"
        if self.generators:
            _map_dropouts(self.module, (*self.generators, torch.Generator()))

    def forward(self, x: Tensor, *, shared: bool) -> Tensor:
        """One call for all models, and on a CPU for one more.

        Torch computes the last numbers of a tensor by other code, and a stack of one by other kernels: where there is
        one more model, which nobody looks at, no model's bits depend on how many there are.
        """
        if shared and self.generators and self.module.training:
            x, shared = x.unsqueeze(1).expand(-1, self.stack.size, *x.shape[1:]), False
        if not self.has_spare:
            return self._mapped(self.stack.weights, self.stack.buffers, x, shared)
        weights, buffers = (
            {name: torch.cat([tensor, tensor[-1:]]) for name, tensor in tensors.items()}
            for tensors in (self.stack.weights, self.stack.buffers)
        )
        out = self._mapped(weights, buffers, x if shared else torch.cat([x, x[:, -1:]], 1), shared)
        for name, buffer in self.stack.buffers.items():
            buffer.copy_(buffers[name][:-1])
        return out[:-1]

    def _mapped(self, weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, shared: bool) -> Tensor:

        def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], examples: Tensor) -> Tensor:
            return call_with(self.module, self.slots, {**weights, **buffers}, examples)

        mapped = vmap(one, in_dims=(0, 0, None if shared else 1), randomness="different")
        # "M N K"
        out: Tensor = mapped(weights, buffers, x)
        return out.transpose(1, 2)


def _map_dropouts(model: nn.Module, generators: Sequence[torch.Generator]) -> None:
    """Let each dropout in the model draw from the generators of all models."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):  # also where a child has two names
            if child is not None and type(child) in SPATIAL_DIMS:
                setattr(parent, name, MappedDropout(child, generators))
