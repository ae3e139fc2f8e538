"""What a probe is given of the models in training."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from harness.data.streamed_tensors import AnyExamples
from harness.ensemble.ensemble import Ensemble
from harness.probes.layers import Layer
from harness.rng import sub_seed
from harness.tasks.objective import Objective
from harness.tasks.task import targets_of

Values = Mapping[str, Float[Tensor, "M"]]  # curve -> what was measured of each model


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples and targets: each model's own, "N M ...", or shared by all, "N ..."; targets as in tasks/task.py.

    Targets may be each model's own where the examples are shared.
    """

    x: Tensor
    y: Tensor
    shared: bool

    def select(self, model: int) -> tuple[Tensor, Tensor]:
        """One model's examples "N ..." and targets, as a plain loss takes them."""
        return self.x if self.shared else self.x[:, model], targets_of(self.y, model)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeContext:
    """M models before an update. Probes read `models`, and run copies of them: training must not notice."""

    models: Ensemble
    objective: Objective
    layers: tuple[Layer, ...]
    batch: Batch  # training examples, the same at every step and for all models of a seed
    next_batch: Batch  # the batch of the next update
    train: AnyExamples  # all training examples, "N ..."
    batch_size: int
    lr: Float[Tensor, "M"]  # of the next update
    seeds: tuple[int, ...]
    step: int

    def copy(self) -> Ensemble:
        """A copy of the models; not compiled, for a compiled model can't be differentiated twice."""
        rows = torch.arange(self.models.size, device=self.lr.device)
        copy = self.models.select(rows).with_options(replace(self.models.options, compile=False))
        copy.count_batches(self.step)
        if copy.is_stochastic:
            copy.seed_draws([self.draw_seed(model) for model in range(copy.size)])
        return copy

    def draw_seed(self, model: int) -> int:
        """The seed of what a model draws (dropout) while it is looked at."""
        return sub_seed(self.seeds[model], "probe", self.step)


def losses_and_gradients(
    models: Ensemble, batch: Batch, objective: Objective
) -> tuple[Float[Tensor, "M"], dict[str, Tensor]]:
    """Each model's loss on a batch, in training mode, and its gradients; the latter hold until the next call."""
    return models.gradients(batch.x, shared=batch.shared, loss_fn=partial(objective.loss_and_gradient, y=batch.y))


def norm(tensor: Float[Tensor, "M ..."]) -> Float[Tensor, "M"]:
    """The Euclidean norm of each model's tensor."""
    norms: Tensor = torch.linalg.vector_norm(tensor.flatten(1), dim=1)
    return norms
