"""What a step of training is told: all that makes it another than the step before it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from harness.training.augmentation import Moves


@dataclass(frozen=True, slots=True)
class Seen:
    """Training examples as each model sees them, the same for all models of one seed."""

    picked: Int[Tensor, "M N"]  # which they are, in their order
    moves: Moves | None

    def of(self, picked: Int[Tensor, "M B"]) -> "Seen":
        """Some of all examples of an epoch."""
        return Seen(picked, None if self.moves is None else self.moves.of(picked))

    @property
    def tensors(self) -> Iterator[Tensor]:
        """All that it holds."""
        yield self.picked
        if self.moves is not None:
            yield from (self.moves.top, self.moves.left, self.moves.flip)


@dataclass(frozen=True, slots=True)
class Now:
    """What one step is told, by numbers or, where it is recorded, by tensors that hold one number each."""

    step: int
    parts: tuple[Seen, ...]  # of the batch, which go through the models one after the other; none: all examples
    factor: float | Tensor  # on the learning rate
    corrections: tuple[float | Tensor, ...]  # see optim.py

    def held(self, like: Tensor) -> "Now":
        """The same in tensors of its own, numbers in the type of `like`."""
        parts = []
        for seen in self.parts:
            picked, *moves = (tensor.clone() for tensor in seen.tensors)
            parts.append(Seen(picked, Moves(*moves) if moves else None))
        factor, *corrections = (torch.as_tensor(number).to(like, copy=True) for number in self._numbers)
        return replace(self, parts=tuple(parts), factor=factor, corrections=tuple(corrections))

    def take(self, now: "Now") -> None:
        """Hold what another step is told."""
        for mine, seen in zip(self.parts, now.parts, strict=True):
            for tensor, new in zip(mine.tensors, seen.tensors, strict=True):
                tensor.copy_(new)
        for held, number in zip(self._numbers, now._numbers, strict=True):
            assert isinstance(held, Tensor)
            held.fill_(number)

    @property
    def _numbers(self) -> tuple[float | Tensor, ...]:
        return (self.factor, *self.corrections)
