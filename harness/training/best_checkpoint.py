"""The models as they were where they validated best, kept while training goes on."""

import math
from dataclasses import replace

import torch

from harness.training.state import TrainState


def keep_best(state: TrainState) -> TrainState:
    """The state with room for the best of each model: so far, that is the model at step 0."""
    copies = {name: tensor.detach().clone() for name, tensor in state.model_state.items()}
    return replace(state, best={**copies, "step": torch.zeros_like(state.fail_step)})


@torch.no_grad()
def update_best(state: TrainState, eval_step: int) -> None:
    """Keep the models that validate better than at all evaluations before; the first of equals stays.

    They are judged by the first metric of their task. What is best is read from the curve, so that an evaluation
    that is done again after a restart changes nothing.
    """
    row = state.eval_steps.index(eval_step)
    if not state.best or row == 0:
        return
    # "E M"
    name, higher_is_better = state.objective.judged_by
    values = state.curves[f"val.{name}"] * (1 if higher_is_better else -1)
    # "M"; a missing value is worse than any
    is_better = values[row] > values[:row].nan_to_num(nan=-math.inf).amax(0)
    for name, tensor in state.model_state.items():
        best = state.best[name]
        # "M" -> "M 1 ..."
        mask = is_better.view(-1, *[1] * (best.ndim - 1))
        best.copy_(torch.where(mask, tensor, best))
    state.best["step"].masked_fill_(is_better, eval_step)
