"""The training loop: the only one there is. It trains a whole cohort of M models at once."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from harness.training.best_checkpoint import update_best
from harness.training.compiled_steps import CompiledSteps
from harness.training.epochs import load_batch, select_batch, shuffle
from harness.training.evaluation import evaluate_cohort, record_failures
from harness.training.probing import as_single_process, measure
from harness.training.pruning import ActiveSubset, all_models, drop_diverged, scatter_into
from harness.training.single_steps import SingleSteps
from harness.training.state import LOSS_BUFFER_STEPS, TrainState


@dataclass(frozen=True, slots=True)
class TrainEvent:
    """A piece of work that training has done."""

    step: int  # updates done so far
    kind: str  # "train", "eval" or "probe"
    active: ActiveSubset = field(repr=False)  # the models that still train
    note: str = ""  # what a user should know of how they train


class Updates(Protocol):
    """A way to update the models of a state."""

    def advance(self, step: int, stop: int) -> tuple[int, str]:
        """Take the step after `step` or more, none beyond `stop`; how many are done then, and a note for the user.

        The losses go to the ring of losses, whose end is a stop, too.
        """
        ...


def train(state: TrainState, done: int = 0) -> Iterator[TrainEvent]:
    """Train on from `done` steps, and yield after some updates, and after each evaluation and probing.

    `state` has all models, and `event.active` those that still train. At any event, `scatter_into(state, event.active)`
    brings the tensors of `state` up to date; with the number of steps they are a whole checkpoint, because a row of a
    curve that is measured again comes out the same. After the last event `state` is up to date already.
    """
    stops = sorted({*state.eval_steps, *state.probe_steps})
    eval_steps, probe_steps = frozenset(state.eval_steps), frozenset(state.probe_steps)
    active = drop_diverged(state, all_models(state), [step for step in state.eval_steps if step < done])
    updates: Updates | None = None  # of the active models; made anew where fewer of them go on
    step = done
    while True:
        if step in probe_steps:
            _probe(active.state, step)
            yield TrainEvent(step, "probe", active)
        if step in eval_steps:
            evaluate_cohort(active.state, step)
            scatter_into(state, active)
            update_best(state, step)
            yield TrainEvent(step, "eval", active)
            remaining = drop_diverged(state, active, [step])
            if remaining is not active:
                active, updates = remaining, None
        if step == state.steps:
            return
        if updates is None:
            updates = CompiledSteps.of(active.state, step) or SingleSteps.of(active.state, step)
        stop = stops[bisect_left(stops, step + 1)]
        while step < stop:
            step, note = updates.advance(step, stop)
            if step % LOSS_BUFFER_STEPS == 0 or step in eval_steps:
                _flush_loss_buffer(active.state, step)
            yield TrainEvent(step, "train", active, note)


def _probe(state: TrainState, step: int) -> None:
    """Write the row of this step into the probes' curves, with the batch of the update after it at hand."""
    state = as_single_process(state, state.trials[0].accumulation_steps)
    epoch_batches = shuffle(state, step // state.steps_per_epoch)
    next_batch = None if epoch_batches is None else select_batch(state, step, epoch_batches)
    measure(state, step, load_batch(state, next_batch))


def _flush_loss_buffer(state: TrainState, done: int) -> None:
    """Add the losses since the last time to `batch_loss`, and record where each model's first was not finite.

    The first losses after an evaluation begin a new sum. One over all steps would lose what comes after a spike.
    """
    evaluated = state.eval_steps[_eval_index(state, done) - 1]
    since = max((done - 1) // LOSS_BUFFER_STEPS * LOSS_BUFFER_STEPS, evaluated)
    # "steps M"
    losses = state.loss_buffer[since % LOSS_BUFFER_STEPS : (done - 1) % LOSS_BUFFER_STEPS + 1]
    if state.dist.world_size > 1:
        losses = losses.clone()
        state.dist.all_reduce_sum(losses)
        losses /= state.dist.world_size
    if since == evaluated:
        state.batch_loss.zero_()
    # One after the other: along the first dimension `sum` adds up in an order that the number of models decides.
    state.batch_loss.add_(losses.cumsum(0, dtype=state.batch_loss.dtype)[-1])
    is_failed = ~losses.isfinite()
    record_failures(state, is_failed.any(0), since + 1 + is_failed.int().argmax(0))


def _eval_index(state: TrainState, step: int) -> int:
    """The index in `eval_steps` of the first evaluation at this step or later."""
    return bisect_left(state.eval_steps, step)
