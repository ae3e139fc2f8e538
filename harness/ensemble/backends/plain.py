"""What backends have in common that run the plain module as it was written."""

from copy import deepcopy

from torch.nn.modules.batchnorm import _BatchNorm

from harness.ensemble.backends.base import Backend, ModelStack
from harness.nn.module_state import slots_of


class PlainModuleBackend(Backend):
    """Runs a copy of the plain module, with the tensors of a model in the place of its own."""

    def __init__(self, stack: ModelStack) -> None:
        super().__init__(stack)
        self.module = deepcopy(stack.template).train()
        self.slots = slots_of(self.module)
        self.cumulative = tuple(
            layer for layer in self.module.modules() if isinstance(layer, _BatchNorm) and layer.momentum is None
        )

    def count_batches(self, step: int) -> None:
        """Tell cumulative batch norms how many batches came before: torch would read a counter, which vmap can't."""
        for layer in self.cumulative:
            layer.momentum = 1 / (step + 1)

    def capture_blocker(self) -> str:
        """Also a cumulative average can't be recorded: its momentum is a number of Python's."""
        if self.cumulative:
            return super().capture_blocker() or "Python counts the batches that its running statistics average"
        return super().capture_blocker()
