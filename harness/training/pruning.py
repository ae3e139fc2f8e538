"""Training on without the dead: where most models of a cohort have diverged, the others go on as a smaller stack.

A loss that is no number stays none: such a model has no result to come. Whether to go on smaller is decided at
evaluations, from what failed before: a run that is resumed decides the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from harness.ensemble.ensemble import FEWEST
from harness.ensemble.optim import settings_of
from harness.training.state import Program


def go_on(program: Program, active: Program, marks: Iterable[int]) -> Program:
    """What trains on after the evaluations at these marks, those before being done with."""
    before = program.part[0][1] if program.part else list(range(program.stack.size))
    rows, fail_steps = before, program.fail_step.tolist()
    for mark in marks:
        rows = left_after(rows, fail_steps, mark)
    if rows == before:
        return active
    program.write_back()
    program.part[:] = [(_part_of(program, rows), rows)]
    return program.part[0][0]


def left_after(rows: list[int], fail_steps: Sequence[int], mark: int) -> list[int]:
    """The models that are left of these: where at most half are alive, the dead go, but for a lone one's companion."""
    alive = [i for i in rows if not 0 <= fail_steps[i] <= mark]
    if len(rows) <= FEWEST or 2 * len(alive) > len(rows):
        return rows
    dead = [i for i in rows if i not in alive]
    return sorted([*alive, *dead[: max(0, FEWEST - len(alive))]])


def _part_of(program: Program, rows: Sequence[int]) -> Program:
    """A program that trains some of the models on, in tensors of its own."""
    picked = torch.tensor(rows, device=program.fail_step.device)
    trials = [program.trials[min(i, len(program.trials) - 1)] for i in rows]
    stack = program.stack.take(picked)
    x, y = program.data["train"]
    return replace(
        program,
        trials=tuple(trials),
        stack=stack,
        slots={
            name: {slot: kept[picked] for slot, kept in slots.items()} for name, slots in program.slots.items()
        },
        data={**program.data, "train": (x, y[picked] if y.ndim == 2 else y)},
        settings=settings_of(trials, stack.weights, program.norms),
        limits=None if program.limits is None else program.limits[picked],
        curves={name: curve[:, picked] for name, curve in program.curves.items()},
        fail_step=program.fail_step[picked],
        recent=program.recent[:, picked],
        batch_loss=program.batch_loss[picked],
        part=[],
        best={},  # of all models, as `program` keeps it
    )  # fmt: skip
