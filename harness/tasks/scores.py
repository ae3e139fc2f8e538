"""Losses and metrics of a split, added up batch by batch, so that ranks can share it and none has to hold its outputs.

Metrics of the suite's own are of all outputs at once, which are then kept.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from harness.nn.losses import precise_dtype
from harness.tasks.objective import Objective
from harness.tasks.task import Sums, examples_of, targets_of

CHUNK = 2**22  # numbers of constant outputs that are made at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the losses and metrics of a split are made from, as far as it was gone through."""

    loss: Float[Tensor, "M"]
    examples: Tensor
    sums: Sums
    outputs: list[Tensor]  # each "M K P"; none where no metric asks for them

    @property
    def tensors(self) -> list[Tensor]:
        """All that ranks have to add up."""
        return [self.loss, self.examples, *self.sums.values()]


def add_up(objective: Objective, batches: Iterable[tuple[Tensor, Tensor]], empty: Tensor, y: Tensor) -> Totals:
    """The totals of outputs and their targets, batch by batch; `empty` has the shape of outputs without examples."""
    loss = torch.zeros(len(empty), device=empty.device, dtype=precise_dtype(empty.device))
    examples = torch.zeros((), dtype=torch.int64, device=empty.device)
    sums = dict(objective.task.sums(empty, y[..., :0]))
    outputs = []
    for out, targets in batches:
        loss += objective.example_losses(out, targets).sum(1, dtype=loss.dtype)
        examples += examples_of(targets)
        for name, part in objective.task.sums(out, targets).items():
            sums[name] = sums[name] + part
        if objective.own_metrics:
            outputs.append(out)
    return Totals(loss=loss, examples=examples, sums=sums, outputs=outputs)


def scores(objective: Objective, totals: Totals, y: Tensor) -> dict[str, Float[Tensor, "M"]]:
    """The mean loss and all metrics of a split with these targets, once it was gone through."""
    loss = totals.loss / objective.task.worth(y)
    found = {"loss": loss, **objective.task.metrics(totals.sums, loss, y)}
    if objective.own_metrics:
        outputs, is_finite = torch.cat(totals.outputs, 2), loss.isfinite().tolist()
        for name in objective.own_metrics:
            values = [
                objective.own_metric(name, own.T, targets_of(y, model)) if is_finite[model] else math.nan
                for model, own in enumerate(outputs)
            ]
            found[name] = loss.new_tensor(values)
    return found


def guess_scores(objective: Objective, train: Tensor, y: Tensor, outputs: int) -> dict[str, float]:
    """The loss and all metrics, of examples with targets `y`, of what is best learnt from training targets alone."""
    guess = objective.task.guess(train, outputs)
    targets = y.to(guess.dtype) if y.is_floating_point() else y
    empty = guess.view(1, -1, 1).expand(1, -1, 0)
    totals = add_up(objective, _constant(guess, targets), empty, targets)
    return {name: value.item() for name, value in scores(objective, totals, targets).items()}


def _constant(guess: Float[Tensor, "K"], y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """One output for all examples, a chunk of them at a time."""
    positions = y.shape[1] if y.ndim == 3 and not y.is_floating_point() else 1
    per_chunk = max(1, CHUNK // (positions * len(guess)))
    for part in y.tensor_split(-(-examples_of(y) // per_chunk), -1):
        yield guess.view(1, -1, 1).repeat(1, 1, positions * examples_of(part)), part
