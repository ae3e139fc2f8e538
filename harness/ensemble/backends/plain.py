"""What backends have in common that run the plain module as it was written."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from harness.ensemble.backends.base import Backend, LossFn, ModelStack
from harness.ensemble.module_copy import copy_module, has_hooks
from harness.nn.module_state import slots_of


class PlainModuleBackend(Backend):
    """Runs a copy of the plain module, with the tensors of a model in the place of its own."""

    def __init__(self, stack: ModelStack) -> None:
        super().__init__(stack)
        self.module = copy_module(stack.template).train()
        self.slots = slots_of(self.module)
        self.assigned: list[tuple[Tensor, Tensor]] = []  # tensors that keep buffers, and what they are to be
        self.cumulative = tuple(
            layer for layer in self.module.modules() if isinstance(layer, _BatchNorm) and layer.momentum is None
        )

    def batch_gradients(self, x: Tensor, shared: bool, loss_fn: LossFn) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses and gradients of one batch; buffers then are what the forward pass has assigned to them."""
        losses_and_grads = super().batch_gradients(x, shared, loss_fn)
        self.write_assigned()
        return losses_and_grads

    def keep_assigned(self, buffers: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
        """Remember what a forward pass has assigned to buffers (`self.mean = ...`), `tensors` being what it has left.

        Where gradients are to come, they may depend on what the buffers are now.
        """
        for name, buffer in buffers.items():
            if tensors[name] is not buffer:
                self.assigned.append((buffer, tensors[name].detach().clone()))
        if not torch.is_grad_enabled():
            self.write_assigned()

    @torch.no_grad()
    def write_assigned(self) -> None:
        """Let the buffers be what was assigned to them."""
        for buffer, value in self.assigned:
            buffer.copy_(value)
        self.assigned.clear()

    def count_batches(self, step: int) -> None:
        """Tell cumulative batch norms how many batches came before: torch would read a counter, which vmap can't."""
        for layer in self.cumulative:
            layer.momentum = 1 / (step + 1)

    def capture_blocker(self) -> str:
        """Nor can hooks be recorded, nor a cumulative average: its momentum is a number of Python's."""
        if has_hooks(self.module):
            return "it has hooks"
        if self.cumulative:
            return super().capture_blocker() or "Python counts the batches that its running statistics average"
        return super().capture_blocker()
