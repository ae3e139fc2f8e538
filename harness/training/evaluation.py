"""Evaluating a cohort: a row of the curves of loss and accuracy."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from harness.ensemble.bn_statistics import EVAL_STATISTICS, edges
from harness.ensemble.distributed import sync_buffers
from harness.ensemble.ensemble import Ensemble
from harness.rng import sub_seed
from harness.training.probing import as_single_process
from harness.training.state import TrainState


def evaluate_cohort(state: TrainState, step: int) -> None:
    """Write the row of this step into the curves: validation and test examples always, training ones at both ends."""
    row, trial = state.eval_steps.index(step), state.trials[0]
    sync_buffers(list(state.ensemble.buffers.values()), trial.ddp_eval_buffers, state.dist)
    if state.ensemble.stack.draws:
        state.ensemble.seed_draws([sub_seed(trial.seed, "eval", step) for trial in state.trials])
    # Statistics other than the running ones are gathered by every rank for itself, all of them the same.
    ensemble = state.ensemble if trial.eval_statistics == "running" else as_single_process(state).ensemble
    with_statistics = EVAL_STATISTICS[trial.eval_statistics]
    evaluated = with_statistics(ensemble, state.data["train"][0], trial.batch_size // trial.accumulation_steps)
    is_end, has_failed = step in (0, state.steps), (state.fail_step >= 0) & (state.fail_step <= step)
    state.curves["batch.loss"][row] = state.batch_loss.masked_fill(has_failed, torch.nan)
    for split in ("train", "val", "test") if is_end else ("val", "test"):
        loss, accuracy = _loss_and_accuracy(state, evaluated, split)
        # What comes after a failure is no result: some backends stop there, others leave the model alone only later.
        loss = loss.masked_fill(has_failed, torch.nan)
        state.curves[f"{split}.loss"][row] = loss
        # An output that is not a number has no largest class.
        state.curves[f"{split}.accuracy"][row] = accuracy.masked_fill(~loss.isfinite(), torch.nan)
        if split == "train":
            record_failures(state, ~loss.isfinite(), step)


def record_failures(state: TrainState, failed: Bool[Tensor, "M"], step: Int[Tensor, "M"] | int) -> None:
    """Set `fail_step` of the models that failed and had not before; without asking for numbers, which stops a GPU."""
    is_new = failed & (state.fail_step < 0)
    state.fail_step.copy_(torch.where(is_new, step, state.fail_step))


def _loss_and_accuracy(
    state: TrainState, evaluated: Ensemble, split: str
) -> tuple[Float[Tensor, "M"], Float[Tensor, "M"]]:
    """Mean loss and accuracy of every model in evaluation mode; each rank evaluates some of the batches."""
    x, y = state.data[split]
    examples = y.shape[-1]
    sections = _sections(state, evaluated, examples)
    loss = torch.zeros_like(state.batch_loss)
    correct = torch.zeros_like(state.fail_step)
    count = torch.zeros_like(correct[0])
    with evaluated.eval_mode():
        batches = list(zip(x.tensor_split(sections), y.tensor_split(sections, -1), strict=True))
        for batch_x, batch_y in state.dist.shard(batches):
            batch_loss, batch_correct = evaluated.backend.score(batch_x, batch_y)
            loss += batch_loss
            correct += batch_correct
            count += len(batch_x)
    state.dist.all_reduce_sum(loss, correct, count)
    assert state.dist.world_size == 1 or count.item() == examples
    return loss / examples, correct.to(loss.dtype) / examples


def _sections(state: TrainState, evaluated: Ensemble, examples: int) -> int | list[int]:
    """How many batches examples are evaluated in, or at which examples they end where the batch decides the output."""
    trial = state.trials[0]
    if trial.eval_statistics == "batch":
        return edges(examples, trial.batch_size // trial.accumulation_steps)
    return 1 if evaluated.backend.takes_any_batch else -(-examples // state.eval_batch_size)
