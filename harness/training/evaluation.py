"""Evaluating a cohort: a row of the curves of loss and metrics."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from harness.data.streamed_tensors import AnyExamples
from harness.ensemble.bn_statistics import EVAL_STATISTICS, edges
from harness.ensemble.distributed import sync_buffers
from harness.ensemble.ensemble import Ensemble
from harness.rng import sub_seed
from harness.tasks.scores import Totals, add_up, scores
from harness.training.probing import as_single_process
from harness.training.state import TrainState
from harness.training.streaming.pieces import in_pieces


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
        found = _scores(state, evaluated, split)
        # What comes after a failure is no result: some backends stop there, others leave the model alone only later.
        loss = found["loss"].masked_fill(has_failed, torch.nan)
        for name, values in found.items():
            # An output that is not a number has no largest class.
            state.curves[f"{split}.{name}"][row] = values.masked_fill(~loss.isfinite(), torch.nan)
        if split == "train":
            record_failures(state, ~loss.isfinite(), step)


def record_failures(state: TrainState, failed: Bool[Tensor, "M"], step: Int[Tensor, "M"] | int) -> None:
    """Set `fail_step` of the models that failed and had not before; without asking for numbers, which stops a GPU."""
    is_new = failed & (state.fail_step < 0)
    state.fail_step.copy_(torch.where(is_new, step, state.fail_step))


def _scores(state: TrainState, evaluated: Ensemble, split: str) -> dict[str, Float[Tensor, "M"]]:
    """Mean loss and metrics of every model in evaluation mode; each rank evaluates some of the batches.

    What is measured of all outputs at once, each rank measures by itself: it needs them all.
    """
    (x, y), objective = state.data[split], state.objective
    sections = _sections(state, evaluated, y.shape[-1])
    parts: Sequence[AnyExamples] = x.tensor_split(sections)
    batches = list(zip(parts, y.tensor_split(sections, -1), strict=True))
    is_shared = not objective.own_metrics
    with evaluated.eval_mode():
        totals = _totals(state, evaluated, state.dist.shard(batches) if is_shared else batches, y)
    if is_shared:
        state.dist.all_reduce_sum(*totals.tensors)
    assert state.dist.world_size == 1 or totals.examples.item() == y.shape[-1]
    return scores(objective, totals, y)


def _totals(state: TrainState, evaluated: Ensemble, batches: Sequence[tuple[AnyExamples, Tensor]], y: Tensor) -> Totals:
    """What loss and metrics are made from; of plain classification by what the backend has for it."""
    objective, empty = state.objective, state.loss_buffer.new_zeros(evaluated.size, state.dataset.outputs, 0)
    backend = evaluated.backend
    pieces_of_batches = in_pieces(batches, whole=not backend.takes_any_batch)
    if objective.own_metrics or not objective.has_compiled_form:
        outputs = ((backend.outputs_of_pieces(pieces), batch_y) for pieces, batch_y in pieces_of_batches)
        return add_up(objective, outputs, empty, y)
    totals = add_up(objective, (), empty, y)
    for pieces, batch_y in pieces_of_batches:
        batch_loss, batch_correct = backend.score(pieces, batch_y)
        totals.loss.add_(batch_loss)
        totals.sums["accuracy"].add_(batch_correct)
        totals.examples.add_(batch_y.shape[-1])
    return totals


def _sections(state: TrainState, evaluated: Ensemble, examples: int) -> int | list[int]:
    """How many batches examples are evaluated in, or at which examples they end where the batch decides the output."""
    trial = state.trials[0]
    if trial.eval_statistics == "batch":
        return edges(examples, trial.batch_size // trial.accumulation_steps)
    return 1 if evaluated.backend.takes_any_batch else -(-examples // state.eval_batch_size)
