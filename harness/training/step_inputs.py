"""The inputs of one training step: all that differs from step to step.

On a GPU a step is captured once and replayed (see cuda_graphs.py), so whatever differs has to come to it in tensors.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class EpochBatches:
    """Training examples in the order in which each model sees them, the same for all models of one seed."""

    indices: Int[Tensor, "M N"]
    augmentation: Int[Tensor, "P M N"] | None  # the numbers that were drawn for each: see augmentation.py

    def map(self, function: Callable[[Tensor], Tensor]) -> "EpochBatches":
        """A function of every tensor; it has to treat the examples, which are the last dimension, alike."""
        return EpochBatches(function(self.indices), None if self.augmentation is None else function(self.augmentation))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor."""
        return (self.indices,) if self.augmentation is None else (self.indices, self.augmentation)


@dataclass(frozen=True, slots=True)
class StepInputs:
    """What a step is given besides the state: numbers, or static buffers that hold one number each."""

    step: int
    micro_batches: tuple[EpochBatches, ...]  # whose gradients are accumulated; empty: the batch is all examples
    lr_factor: float | Tensor
    corrections: tuple[Float[Tensor, "M"], ...]  # the optimizer's, such as Adam's for its bias

    def as_static_buffers(self, like: Tensor) -> "StepInputs":
        """The same in tensors of their own, numbers in the type of `like`."""
        micro_batches = tuple(batch.map(torch.clone) for batch in self.micro_batches)
        factor = torch.as_tensor(self.lr_factor).to(like, copy=True)
        corrections = tuple(map(torch.clone, self.corrections))
        return replace(self, micro_batches=micro_batches, lr_factor=factor, corrections=corrections)

    def copy_(self, inputs: "StepInputs") -> None:
        """Overwrite the static buffers with the inputs of another step."""
        for buffers, batch in zip(self.micro_batches, inputs.micro_batches, strict=True):
            for buffer, tensor in zip(buffers.tensors, batch.tensors, strict=True):
                buffer.copy_(tensor)
        assert isinstance(self.lr_factor, Tensor)
        self.lr_factor.fill_(inputs.lr_factor)
        for values, others in zip(self.corrections, inputs.corrections, strict=True):
            values.copy_(others)
