"""Training on without the dead: where most models of a cohort have diverged, the others go on as a smaller stack.

A loss that is no number stays none: such a model has no result to come. Whether to go on smaller is decided at
evaluations, from what failed before: a run that is resumed decides the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from harness.ensemble.backends.base import MIN_STACK
from harness.ensemble.optim import settings_of
from harness.training.state import TrainState


def drop_diverged(program: TrainState, active: TrainState, eval_steps: Iterable[int]) -> TrainState:
    """What trains on after the evaluations at these marks, those before being done with."""
    before = program.active[0][1] if program.active else list(range(program.ensemble.size))
    rows, fail_steps = before, program.fail_step.tolist()
    for mark in eval_steps:
        rows = surviving_rows(rows, fail_steps, mark)
    if rows == before:
        return active
    program.write_back()
    program.active[:] = [(subset(program, rows), rows)]
    return program.active[0][0]


def surviving_rows(rows: list[int], fail_steps: Sequence[int], eval_step: int) -> list[int]:
    """The models that are left of these: where at most half are alive, the dead go, but for a lone one's companion."""
    alive = [i for i in rows if not 0 <= fail_steps[i] <= eval_step]
    if len(rows) <= MIN_STACK or 2 * len(alive) > len(rows):
        return rows
    dead = [i for i in rows if i not in alive]
    return sorted([*alive, *dead[: max(0, MIN_STACK - len(alive))]])


def subset(state: TrainState, rows: Sequence[int]) -> TrainState:
    """A program that trains some of the models on, in tensors of its own."""
    picked = torch.tensor(rows, device=state.fail_step.device)
    trials = [state.trials[min(i, len(state.trials) - 1)] for i in rows]
    stack = state.ensemble.select(picked)
    x, y = state.data["train"]
    return replace(
        state,
        trials=tuple(trials),
        ensemble=stack,
        optimizer_state={
            name: {slot: kept[picked] for slot, kept in slots.items()} for name, slots in state.optimizer_state.items()
        },
        data={**state.data, "train": (x, y[picked] if y.ndim == 2 else y)},
        param_groups=settings_of(trials, stack.weights, state.norm_params),
        max_grad_norms=None if state.max_grad_norms is None else state.max_grad_norms[picked],
        curves={name: curve[:, picked] for name, curve in state.curves.items()},
        fail_step=state.fail_step[picked],
        loss_buffer=state.loss_buffer[:, picked],
        batch_loss=state.batch_loss[picked],
        active=[],
        best={},  # of all models, as `program` keeps it
    )  # fmt: skip
