"""One model after the other: what every model can do, and what all other backends are held to."""

import torch
from torch import Tensor
from torch.func import functional_call

from harness.ensemble.backends.plain import PlainModuleBackend


class LoopBackend(PlainModuleBackend):
    """Calls the plain module once for each model."""

    name = "loop"
    note = "trains one model after the other"
    min_models = 1

    def forward(self, x: Tensor, *, shared: bool) -> Tensor:
        """One call for each model."""
        unbound = {name: tensor.unbind() for name, tensor in self.stack.tensors.items()}
        outs = []
        for i in range(self.stack.size):
            tensors = {name: models[i] for name, models in unbound.items()}
            examples = self.stack.options.to_memory_format(x if shared else x[:, i])
            outs.append(functional_call(self.module, tensors, (examples,)))
        # "M N K" -> "M K N"
        return torch.stack(outs).transpose(1, 2)
