"""The weights that validated best, kept while training goes on."""

from dataclasses import replace

import torch

from harness.training.state import TrainState


def keep_best(state: TrainState) -> TrainState:
    """The program at its first step, told to keep each model as it was where its validation accuracy was highest."""
    kept = {name: tensor.detach().clone() for name, tensor in state.state.items()}
    return replace(state, best={**kept, "step": torch.zeros_like(state.fail_step)})


@torch.no_grad()
def update_best(state: TrainState, eval_index: int) -> None:
    """Keep the models that have just validated better than at all marks before; of equals the first stays.

    What is best is read from the curve, so that an evaluation that is done again changes nothing. Whatever happens, the
    weights at step 0 are there to keep.
    """
    if not state.best or eval_index == 0:
        return
    accuracy = state.curves["val.accuracy"]
    better = accuracy[eval_index] > accuracy[:eval_index].nan_to_num(nan=-1.0).amax(0)
    for name, tensor in state.state.items():
        kept = state.best[name]
        kept.copy_(torch.where(better[(..., *[None] * (kept.ndim - 1))], tensor, kept))
    state.best["step"].masked_fill_(better, state.eval_steps[eval_index])
