"""The plain module mapped over the models by torch.func.vmap."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import vmap

from harness.ensemble.backends.base import ModelStack, NotStackableError, to_outputs
from harness.ensemble.backends.dropout import SPATIAL_DIMS, MappedDropout, check_dropouts
from harness.ensemble.backends.plain import PlainModuleBackend
from harness.ensemble.backends.side_effects import check_side_effects
from harness.nn.module_state import call_with


class VmapBackend(PlainModuleBackend):
    """torch finds the batched form of each operation."""

    name = "vmap"
    note = "falls back to torch.vmap"
    refusal = "torch.vmap doesn't cover it"
    is_exact = False  # torch's batched kernels round by how many matrices there are, and by where they lie

    def __init__(self, stack: ModelStack) -> None:
        if stack.options.channels_last:
            raise NotStackableError("under vmap nothing can be said of how images lie in memory")
        check_side_effects(stack)
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
        self.write_assigned()
        stack = self.stack
        if not self.has_spare:
            out, buffers = self._mapped(stack.weights, stack.buffers, x, shared)
            self.keep_assigned(stack.buffers, buffers)
            return out
        weights, spare_buffers = (
            {name: torch.cat([tensor, tensor[-1:]]) for name, tensor in tensors.items()}
            for tensors in (stack.weights, stack.buffers)
        )
        out, buffers = self._mapped(weights, spare_buffers, x if shared else torch.cat([x, x[:, -1:]], 1), shared)
        with torch.no_grad():
            for name, buffer in stack.buffers.items():
                buffer.copy_(buffers[name][:-1])
        return out[:-1]

    def _mapped(
        self, weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, shared: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The outputs, and the buffers as the forward pass has left them: changed in place, or others."""

        def one(
            weights: dict[str, Tensor], buffers: dict[str, Tensor], examples: Tensor
        ) -> tuple[Tensor, dict[str, Tensor]]:
            tensors = {**weights, **buffers}
            out = call_with(self.module, self.slots, tensors, examples)
            return out, {name: tensors[name] for name in buffers if tensors[name] is not buffers[name]}

        mapped = vmap(one, in_dims=(0, 0, None if shared else 1), randomness="different")
        out: Tensor
        out, assigned = mapped(weights, buffers, x)
        return to_outputs(out), {**buffers, **assigned}


def _map_dropouts(model: nn.Module, generators: Sequence[torch.Generator]) -> None:
    """Let each dropout in the model draw from the generators of all models."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):  # also where a child has two names
            if child is not None and type(child) in SPATIAL_DIMS:
                setattr(parent, name, MappedDropout(child, generators))
