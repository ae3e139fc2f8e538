"""The weights that validated best, kept while training goes on."""

from dataclasses import replace

import torch

from harness.training.state import Program


def keep_best(program: Program) -> Program:
    """The program at its first step, told to keep each model as it was where its validation accuracy was highest."""
    kept = {name: tensor.detach().clone() for name, tensor in program.state.items()}
    return replace(program, best={**kept, "step": torch.zeros_like(program.fail_step)})


@torch.no_grad()
def note_best(program: Program, mark: int) -> None:
    """Keep the models that have just validated better than at all marks before; of equals the first stays.

    What is best is read from the curve, so that an evaluation that is done again changes nothing. Whatever happens, the
    weights at step 0 are there to keep.
    """
    if not program.best or mark == 0:
        return
    accuracy = program.curves["val.accuracy"]
    better = accuracy[mark] > accuracy[:mark].nan_to_num(nan=-1.0).amax(0)
    for name, tensor in program.state.items():
        kept = program.best[name]
        kept.copy_(torch.where(better[(..., *[None] * (kept.ndim - 1))], tensor, kept))
    program.best["step"].masked_fill_(better, program.marks[mark])
