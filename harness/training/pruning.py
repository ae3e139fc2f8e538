"""Training on without diverged models: where most of a cohort have a loss that is not finite, the others go on alone.

A loss that is not finite stays so: such a model has no result to come. Whether to go on with fewer models is decided at
evaluations and from `fail_step` alone, so that a run that is resumed decides the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from harness.ensemble.optim.settings import settings_of
from harness.training.state import TrainState


@dataclass(frozen=True, slots=True)
class ActiveSubset:
    """The models of a cohort that still train: all of them, or some in tensors of their own."""

    state: TrainState
    rows: tuple[int, ...]  # where they are among all models


def all_models(state: TrainState) -> ActiveSubset:
    """Every model of the cohort, in the cohort's own tensors."""
    return ActiveSubset(state, tuple(range(state.ensemble.size)))


def drop_diverged(full: TrainState, active: ActiveSubset, eval_steps: Iterable[int]) -> ActiveSubset:
    """What trains on after the evaluations at these steps: `active` itself unless most of it has diverged.

    `full` has to be up to date: see `scatter_into`.
    """
    rows, fail_steps = active.rows, full.fail_step.tolist()
    for eval_step in eval_steps:
        rows = surviving_rows(rows, fail_steps, eval_step)
    return active if rows == active.rows else ActiveSubset(_select(full, rows), rows)


def surviving_rows(rows: Sequence[int], fail_steps: Sequence[int], eval_step: int) -> tuple[int, ...]:
    """The rows that train on: where at most half are alive, those; where none is, one, for there must be a model."""
    alive = [row for row in rows if not 0 <= fail_steps[row] <= eval_step]
    return tuple(rows if 2 * len(alive) > len(rows) else alive or rows[:1])


@torch.no_grad()
def scatter_into(full: TrainState, active: ActiveSubset) -> None:
    """Copy the tensors of the models that still train into those of all models."""
    if active.state is full:
        return
    full_tensors, rows = full.tensors, torch.tensor(active.rows, device=full.fail_step.device)
    for name, tensor in active.state.tensors.items():
        model_dim = 1 if name.startswith("curve/") or name == "loss_buffer" else 0
        full_tensors[name].index_copy_(model_dim, rows.to(tensor.device), tensor)


def _select(full: TrainState, rows: Sequence[int]) -> TrainState:
    """The state of some of the models, in tensors of its own."""
    index = torch.tensor(rows, device=full.fail_step.device)
    trials = tuple(full.trials[row] for row in rows)
    ensemble = full.ensemble.select(index)
    x, y = full.data["train"]
    return replace(
        full,
        trials=trials,
        ensemble=ensemble,
        optimizer_state={
            name: {slot: tensor[index.to(tensor.device)] for slot, tensor in slots.items()}
            for name, slots in full.optimizer_state.items()
        },
        data={**full.data, "train": (x, y[index] if y.ndim == 2 else y)},
        param_groups=settings_of(full.optimizer, trials, ensemble.weights, full.norm_params, full.hidden_matrices),
        adaptive_clips=None if full.adaptive_clips is None else full.adaptive_clips[index],
        max_grad_norms=None if full.max_grad_norms is None else full.max_grad_norms[index],
        curves={name: curve[:, index] for name, curve in full.curves.items()},
        fail_step=full.fail_step[index],
        loss_buffer=full.loss_buffer[:, index],
        batch_loss=full.batch_loss[index],
        best={},  # is kept for all models together
    )
