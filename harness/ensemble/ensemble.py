"""Many models as one: their parameters stacked, their forward and backward passes run together by a backend."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from harness.ensemble.backends import BACKENDS
from harness.ensemble.backends.base import Backend, LossFn, ModelStack, NotStackableError
from harness.ensemble.compute_options import DEFAULT, ComputeOptions
from harness.ensemble.distributed import SINGLE_PROCESS, DistContext
from harness.errors import SuiteError
from harness.nn.module_state import parameters_of, stack_tensors


@dataclass(frozen=True, slots=True)
class Ensemble:
    """M models as one: tensors with the models as their first dimension, and the backend that runs them."""

    stack: ModelStack
    backend: Backend

    @property
    def template(self) -> nn.Module:
        """One of the models as it was built."""
        return self.stack.template

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.stack.input_shape

    @property
    def weights(self) -> dict[str, Tensor]:
        """Name -> "M ...", each with a gradient."""
        return self.stack.weights

    @property
    def buffers(self) -> dict[str, Tensor]:
        """Name -> "M ..."."""
        return self.stack.buffers

    @property
    def options(self) -> ComputeOptions:
        """How the models are computed."""
        return self.stack.options

    @property
    def module(self) -> nn.Module:
        """What runs in a forward pass, and what hooks can be put on; its own weights are not used."""
        return self.backend.module

    @property
    def size(self) -> int:
        """How many models there are."""
        return self.stack.size

    @property
    def is_stochastic(self) -> bool:
        """Whether the forward pass draws random numbers (dropout)."""
        return self.backend.is_stochastic

    def __call__(self, x: Tensor, *, shared: bool) -> Float[Tensor, "M K N"]:
        """Each model's output: for its own examples "N M ...", or for examples "N ..." that all of them share."""
        return self.backend(x, shared=shared)

    def gradients(
        self,
        x: Tensor,
        *,
        shared: bool,
        loss_fn: LossFn,
        accumulate_into: Mapping[str, Tensor] | None = None,
        final: bool = True,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Each model's losses and the gradients of its weights: see Backend.gradients."""
        return self.backend.gradients(x, shared=shared, loss_fn=loss_fn, accumulate_into=accumulate_into, final=final)

    def with_options(self, options: ComputeOptions) -> "Ensemble":
        """The same models computed in another way, by another backend where this one can't."""
        if options == self.options:
            return self
        weights = {name: options.weights_to_memory_format(weight) for name, weight in self.weights.items()}
        return _rebuild(replace(self.stack, weights=weights, options=options), self.backend.name)

    def select(self, rows: Int[Tensor, "L"]) -> "Ensemble":
        """The models in these rows, in tensors of their own."""
        weights = {
            name: self.options.weights_to_memory_format(weight.detach()[rows].requires_grad_())
            for name, weight in self.weights.items()
        }
        buffers = {name: buffer[rows] for name, buffer in self.buffers.items()}
        return _rebuild(replace(self.stack, weights=weights, buffers=buffers), self.backend.name)

    def with_template(self, template: nn.Module, buffers: dict[str, Tensor], backend: str = "") -> "Ensemble":
        """The models on the same weights, with other buffers, run as another plain module says."""
        ensemble = _rebuild(replace(self.stack, template=template, buffers=buffers), backend or self.backend.name)
        if self.stack.draws and self.backend.seeds:
            ensemble.seed_draws(self.backend.seeds)
        return ensemble

    def seed_draws(self, seeds: Sequence[int]) -> None:
        """Let what forward passes draw from now on be a function of these seeds, one for each model."""
        self.backend.seed_draws(seeds)

    def count_batches(self, step: int) -> None:
        """Take note that so many batches came before: cumulative batch norms average them all."""
        self.backend.count_batches(step)

    @contextmanager
    def eval_mode(self) -> Iterator[None]:
        """Evaluation mode, without gradients."""
        self.module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.module.train()


def fuse(
    models: Sequence[nn.Module],
    input_shape: tuple[int, ...],
    device: torch.device,
    backend: str,
    options: ComputeOptions = DEFAULT,
    dist: DistContext = SINGLE_PROCESS,
    *,
    draws: bool = False,
) -> Ensemble:
    """The models, equal in all but the values of their parameters, as one on a device.

    `input_shape` is that of one example; `draws`, whether forward passes draw random numbers otherwise than by dropout
    layers. NotStackableError where the backend can't run them.
    """
    tensors = stack_tensors(models)
    trained = [name for name, parameter in parameters_of(models[0]).items() if parameter.requires_grad]
    if not trained:
        raise SuiteError("none of its parameters can be trained: they are frozen, or there are none")
    stack = ModelStack(
        template=models[0],
        input_shape=input_shape,
        weights={name: options.weights_to_memory_format(tensors[name].to(device).requires_grad_()) for name in trained},
        # What is frozen is a constant of the models, as buffers are that no layer writes to.
        buffers={name: tensor.to(device) for name, tensor in tensors.items() if name not in trained},
        options=options,
        dist=dist,
        draws=draws,
    )
    return Ensemble(stack, BACKENDS[backend](stack))


def _rebuild(stack: ModelStack, backend: str) -> Ensemble:
    """The stack run by this backend, or by the first behind it in the table that can run it."""
    names = list(BACKENDS)
    for name in names[names.index(backend) :]:
        try:
            return Ensemble(stack, BACKENDS[name](stack))
        except NotStackableError:
            continue
    raise NotStackableError(f"no backend from {backend!r} on can run these models")
