"""One model after the other: what every model can do, and what all other backends are held to."""

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.ensemble.backends.base import ModelStack, to_outputs
from harness.ensemble.backends.plain import PlainModuleBackend
from harness.nn.module_state import call_with
from harness.rng import seed_default_generators, sub_seed


class LoopBackend(PlainModuleBackend):
    """Calls the plain module once for each model."""

    name = "loop"
    note = "trains one model after the other"
    runs_in_turn = True

    def __init__(self, stack: ModelStack) -> None:
        super().__init__(stack)
        self.calls = 0  # since the seeds were set
        parameters = stack.template.named_parameters()
        self.hooks = {  # of parameters, for their gradients
            name: tuple(weight._backward_hooks.values())
            for name, weight in parameters
            if weight._backward_hooks and name in stack.weights
        }

    def seed_draws(self, seeds: Sequence[int]) -> None:
        """Let what forward passes draw from now on be a function of these seeds, one for each model."""
        super().seed_draws(seeds)
        self.calls = 0

    def forward(self, x: Tensor, *, shared: bool) -> Tensor:
        """One call for each model."""
        self.write_assigned()
        unbound = {name: tensor.unbind() for name, tensor in self.stack.tensors.items()}
        outs = []
        for i in range(self.stack.size):
            if self.seeds:
                seed_default_generators(sub_seed(self.seeds[i], "call", self.calls))
            tensors = {name: models[i] for name, models in unbound.items()}
            for name, hooks in self.hooks.items() if torch.is_grad_enabled() else ():
                for hook in hooks:
                    tensors[name].register_hook(hook)  # type: ignore[no-untyped-call]
            examples = self.stack.options.to_memory_format(x if shared else x[:, i])
            outs.append(call_with(self.module, self.slots, tensors, examples))
            self.keep_assigned({name: unbound[name][i] for name in self.stack.buffers}, tensors)
        self.calls += 1
        return to_outputs(torch.stack(outs))
