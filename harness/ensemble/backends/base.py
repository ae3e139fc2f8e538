"""What every backend is: M models of one kind that are run together, with the gradients of all their weights."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from harness.ensemble.compute_options import DEFAULT, ComputeOptions, compiled
from harness.ensemble.distributed import SINGLE_PROCESS, DistContext
from harness.nn.losses import per_example_loss, precise_dtype
from harness.nn.module_state import input_dtype
from harness.rng import seed_default_generators

LossFn = Callable[[Tensor], tuple[Tensor, Tensor]]  # output "M K N" -> losses "M", and the gradient of their sum


class NotStackableError(Exception):
    """A backend can't run a model; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStack:
    """The tensors of M models, equal in all but the values of their parameters, and how they are to be computed."""

    template: nn.Module  # one of the models as it was built
    input_shape: tuple[int, ...]  # the shape of one example
    weights: dict[str, Tensor]  # name -> "M ...", each with a gradient
    buffers: dict[str, Tensor]
    options: ComputeOptions = DEFAULT
    dist: DistContext = SINGLE_PROCESS  # the processes that train the one model, where several do
    draws: bool = False  # whether its forward passes draw random numbers otherwise than by dropout layers

    @property
    def size(self) -> int:
        """How many models there are."""
        return len(next(iter(self.weights.values())))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Weights and buffers by name."""
        return {**self.weights, **self.buffers}


def to_outputs(out: Tensor) -> Float[Tensor, "M K P"]:
    """Outputs "M N K" of the models as losses take them, or "M N L K" of each position: then P is N times L."""
    return out.flatten(1, -2).transpose(1, 2)


class Backend(ABC):
    """One way to run the models of a stack.

    A subclass says how a forward pass goes. Gradients come from autograd, unless it overrides `batch_gradients` as
    well. Both read and write the tensors of the stack, so all backends of one stack see the same models.
    """

    name: ClassVar[str]
    note: ClassVar[str] = ""  # what a user should know of models that train so: "the model ..."; "" where it is fast
    refusal: ClassVar[str] = ""  # how a user is told that it can't run a model; "" where that is usual
    device_types: ClassVar[frozenset[str] | None] = None  # where it runs; None: everywhere
    is_exact: ClassVar[bool] = True  # whether on a CPU no bit of a model depends on the others
    runs_in_turn: ClassVar[bool] = False  # whether it runs one model after the other
    takes_any_batch: bool = False  # whether an evaluation of more examples at once takes no more memory, nor differs

    module: nn.Module  # what runs, in training or in evaluation mode; its own weights are not used

    def __init__(self, stack: ModelStack) -> None:
        """NotStackableError where the backend can't run these models."""
        self.stack = stack
        self.is_stochastic = stack.draws or any(isinstance(layer, _DropoutNd) for layer in stack.template.modules())
        weight = next(iter(stack.weights.values()))
        self.dtype = input_dtype(stack.template)
        # On a GPU a launch for each model would take longer than all else: there they are drawn for together.
        own = stack.size if self.is_stochastic and weight.device.type == "cpu" else 0
        self.generators = [torch.Generator() for _ in range(own)]  # of each model
        self.seeds: tuple[int, ...] = ()  # of what is drawn, one for each model
        self.compiled = compiled(self.forward) if stack.options.compile else None  # takes the place of it in training

    @abstractmethod
    def forward(self, x: Tensor, *, shared: bool) -> Float[Tensor, "M K N"]:
        """Each model's output, made by `to_outputs`.

        It is for its own examples "N M ...", or for examples "N ..." that all models share.
        """

    def __call__(self, x: Tensor, *, shared: bool) -> Float[Tensor, "M K N"]:
        """The forward pass as the stack's options ask for it: under autocast, compiled in training."""
        forward = self.forward if self.compiled is None or not self.module.training else self.compiled
        weight, autocast = next(iter(self.stack.weights.values())), self.stack.options.autocast
        if autocast is None:
            return forward(x, shared=shared)
        with torch.autocast(weight.device.type, autocast):
            return forward(x, shared=shared).to(self.dtype)

    def gradients(
        self,
        x: Tensor,
        *,
        shared: bool,
        loss_fn: LossFn,
        accumulate_into: Mapping[str, Tensor] | None = None,
        final: bool = True,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Each model's losses and the gradients of its weights, in training; the latter hold until the next call.

        Where a batch goes through in parts, the gradients of the parts before are added; they hold until the `final`
        part is done.
        """
        losses, grads = self.batch_gradients(x, shared, loss_fn)
        if accumulate_into is not None:
            return losses, {name: accumulate_into[name] + grad for name, grad in grads.items()}
        return losses, grads if final else {name: grad.clone() for name, grad in grads.items()}

    def batch_gradients(self, x: Tensor, shared: bool, loss_fn: LossFn) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses and gradients of one batch; the latter hold until the next call."""
        out = self(x, shared=shared)
        losses, grad = loss_fn(out.detach())
        weights = list(self.stack.weights.values())
        grads = torch.autograd.grad(out, weights, grad, allow_unused=True, materialize_grads=True)
        return losses, dict(zip(self.stack.weights, grads, strict=True))

    def score(self, pieces: Iterable[Tensor], y: Tensor) -> tuple[Float[Tensor, "M"], Int[Tensor, "M"]]:
        """In evaluation of classes, the sums of losses and of right answers over examples "N ..." that models share.

        Examples come in one piece, or in several where the backend takes any batch. Labels are "N", or "M N" where they
        are each model's own.
        """
        # "M K N"
        output = self.outputs_of_pieces(pieces)
        losses = per_example_loss(output, y)
        # max is ten times as fast as argmax, with the same result
        return losses.sum(1, dtype=precise_dtype(losses.device)), (output.max(1).indices == y).sum(1)

    def outputs_of_pieces(self, pieces: Iterable[Tensor]) -> Float[Tensor, "M K N"]:
        """The outputs of examples in several pieces, that all models share."""
        first, *others = [self(x, shared=True) for x in pieces]
        return torch.cat([first, *others], 2) if others else first

    def seed_draws(self, seeds: Sequence[int]) -> None:
        """Let what forward passes draw from now on be a function of these seeds, one for each model."""
        self.seeds = tuple(seeds)
        seed_default_generators(seeds[0])
        for generator, seed in zip(self.generators, seeds, strict=False):
            generator.manual_seed(seed)

    def count_batches(self, step: int) -> None:  # noqa: B027 (most backends have no use for it)
        """Take note that so many batches came before, where running statistics average them all."""

    def capture_blocker(self) -> str:
        """Why steps can't be recorded as a CUDA graph; "" where they can."""
        return "its forward pass draws random numbers" if self.is_stochastic else ""
