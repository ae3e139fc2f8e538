"""The plain module with its layers replaced by those of all models."""

from torch import Tensor

from harness.ensemble.backends.base import Backend, ModelStack
from harness.ensemble.backends.dropout import check_dropouts
from harness.ensemble.backends.side_effects import check_side_effects
from harness.ensemble.backends.stacked_layers.call import expand_models, to_stacked_layout
from harness.ensemble.backends.stacked_module import StackedLayer, stack_layers


class StackedBackend(Backend):
    """Each known layer is one layer of all models: see stacked_module.py."""

    name = "stacked"
    refusal = "stacked layers don't cover it"

    def __init__(self, stack: ModelStack) -> None:
        super().__init__(stack)
        check_side_effects(stack)
        check_dropouts(stack.template)
        self.module = stack_layers(stack.template, stack.tensors, stack.input_shape).train()
        layers = [layer for layer in self.module.modules() if isinstance(layer, StackedLayer)]
        for layer in layers:
            layer.generators = self.generators
        self.input_layers = tuple(layer for layer in layers if layer.gets_examples)

    def forward(self, x: Tensor, *, shared: bool) -> Tensor:
        """One call for all models."""
        draws = self.is_stochastic and self.module.training  # every model for itself
        if not shared:
            x = to_stacked_layout(x)
        elif draws or not self.input_layers:
            x, shared = expand_models(x, self.stack.size), False
        for layer in self.input_layers:
            layer.shared = shared
        out: Tensor = self.module(self.stack.options.to_memory_format(x))
        return out
