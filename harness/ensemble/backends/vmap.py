"""The plain module mapped over the models by torch.func.vmap."""

from torch import Tensor
from torch.func import functional_call, vmap

from harness.ensemble.backends.base import ModelStack, NotStackableError
from harness.ensemble.backends.plain import PlainModuleBackend


class VmapBackend(PlainModuleBackend):
    """torch finds the batched form of each operation."""

    name = "vmap"
    note = "falls back to torch.vmap"
    refusal = "it can't be mapped"

    def __init__(self, stack: ModelStack) -> None:
        if stack.options.channels_last:
            raise NotStackableError("under vmap nothing can be said of how images lie in memory")
        super().__init__(stack)

    def forward(self, x: Tensor, *, shared: bool) -> Tensor:
        """One call for all models."""

        def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], examples: Tensor) -> Tensor:
            out: Tensor = functional_call(self.module, (weights, buffers), (examples,))
            return out

        mapped = vmap(one, in_dims=(0, 0, None if shared else 1), randomness="different")
        # "M N K"
        out: Tensor = mapped(self.stack.weights, self.stack.buffers, x)
        return out.transpose(1, 2)
