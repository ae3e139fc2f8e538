"""What a step of training is told: all that makes it another than the step before it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from harness.training.augmentation import CropFlip


@dataclass(frozen=True, slots=True)
class EpochBatches:
    """Training examples as each model sees them, the same for all models of one seed."""

    indices: Int[Tensor, "M N"]  # which they are, in their order
    crop_flip: CropFlip | None

    def select(self, picked: Int[Tensor, "M B"]) -> "EpochBatches":
        """Some of all examples of an epoch."""
        return EpochBatches(picked, None if self.crop_flip is None else self.crop_flip.select(picked))

    @property
    def tensors(self) -> Iterator[Tensor]:
        """All that it holds."""
        yield self.indices
        if self.crop_flip is not None:
            yield from (self.crop_flip.top, self.crop_flip.left, self.crop_flip.flip)


@dataclass(frozen=True, slots=True)
class StepInputs:
    """What one step is told, by numbers or, where it is recorded, by tensors that hold one number each."""

    step: int
    parts: tuple[EpochBatches, ...]  # of the batch, which go through the models one after the other; none: all examples
    lr_factor: float | Tensor  # on the learning rate
    corrections: tuple[float | Tensor, ...]  # see optim.py

    def as_static_buffers(self, like: Tensor) -> "StepInputs":
        """The same in tensors of its own, numbers in the type of `like`."""
        parts = []
        for seen in self.parts:
            picked, *moves = (tensor.clone() for tensor in seen.tensors)
            parts.append(EpochBatches(picked, CropFlip(*moves) if moves else None))
        factor, *corrections = (torch.as_tensor(number).to(like, copy=True) for number in self._numbers)
        return replace(self, parts=tuple(parts), lr_factor=factor, corrections=tuple(corrections))

    def copy_(self, now: "StepInputs") -> None:
        """Hold what another step is told."""
        for mine, seen in zip(self.parts, now.parts, strict=True):
            for tensor, new in zip(mine.tensors, seen.tensors, strict=True):
                tensor.copy_(new)
        for held, number in zip(self._numbers, now._numbers, strict=True):
            assert isinstance(held, Tensor)
            held.fill_(number)

    @property
    def _numbers(self) -> tuple[float | Tensor, ...]:
        return (self.lr_factor, *self.corrections)
