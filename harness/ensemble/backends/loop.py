"""One model after the other: what every model can do, and what all other backends are held to."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.ensemble.backends.base import LossFn, ModelStack, to_outputs
from harness.ensemble.backends.plain import PlainModuleBackend
from harness.nn.module_state import buffers_of, call_with, parameters_of, replace_buffers, set_buffer
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
        self.is_lone = stack.size == 1
        if self.is_lone:
            _share_tensors(self.module, stack)
            trained = parameters_of(self.module).items()
            self.parameters = {name: weight for name, weight in trained if name in stack.weights}
            self.own_buffers = dict(self.module.named_buffers(remove_duplicate=False))  # by every name

    def seed_draws(self, seeds: Sequence[int]) -> None:
        """Let what forward passes draw from now on be a function of these seeds, one for each model."""
        super().seed_draws(seeds)
        self.calls = 0

    def batch_gradients(self, x: Tensor, shared: bool, loss_fn: LossFn) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses and gradients of one batch; of a lone model by its own parameters, as a plain loop has them."""
        if not self.is_lone or self.compiled is not None:
            return super().batch_gradients(x, shared, loss_fn)
        if self.seeds:
            seed_default_generators(sub_seed(self.seeds[0], "call", self.calls))
        options = self.stack.options
        examples = options.to_memory_format(x if shared else x[:, 0])
        with torch.autocast(x.device.type, options.autocast, enabled=options.autocast is not None):
            out: Tensor = self.module(examples)
        self.calls += 1
        out = to_outputs(out.to(self.dtype).unsqueeze(0))
        losses, grad = loss_fn(out.detach())
        weights = list(self.parameters.values())
        grads = torch.autograd.grad(out, weights, grad, allow_unused=True, materialize_grads=True)
        self.write_own_buffers()
        return losses, {name: grad.unsqueeze(0) for name, grad in zip(self.parameters, grads, strict=True)}

    def write_own_buffers(self) -> None:
        """Copy what the forward pass has assigned to buffers into the stack's own, which the module then has again."""
        self.keep_assigned(self.own_buffers, {name: self.module.get_buffer(name) for name in self.own_buffers})
        if self.assigned:
            self.write_assigned()
            for name, buffer in self.own_buffers.items():
                set_buffer(self.module, name, buffer)

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


def _share_tensors(model: nn.Module, stack: ModelStack) -> None:
    """Give the model the tensors of a stack of one for its own: what changes one changes the other."""
    for name, weight in parameters_of(model).items():
        weight.data = stack.tensors[name].detach()[0]
    replace_buffers(model, {name: stack.buffers[name][0] for name in buffers_of(model)})
