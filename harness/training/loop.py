"""The training loop: the only one there is. It trains a whole cohort of M models at once."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from harness.ensemble.device import to_device
from harness.ensemble.optim import clip_grad_norm, lr_factor, update
from harness.nn.losses import cross_entropy
from harness.probes.context import Batch
from harness.rng import generator, sub_seed
from harness.training.augmentation import apply_augmentation, draw_augmentation, gather_labels, rows_of_seeds
from harness.training.best_checkpoint import update_best
from harness.training.cuda_graphs import StepFn, maybe_capture
from harness.training.evaluation import evaluate_cohort, record_failures
from harness.training.probing import as_single_process, measure
from harness.training.pruning import ActiveSubset, all_models, drop_diverged, scatter_into
from harness.training.state import LOSS_BUFFER_STEPS, TrainState
from harness.training.step_inputs import EpochBatches, StepInputs


@dataclass(frozen=True, slots=True)
class TrainEvent:
    """A piece of work that training has done."""

    step: int  # updates done so far
    kind: str  # "train", "eval" or "probe"
    active: ActiveSubset = field(repr=False)  # the models that still train
    note: str = ""  # what a user should know of how they train


def train(state: TrainState, done: int = 0) -> Iterator[TrainEvent]:
    """Train on from `done` steps, and yield after each update, evaluation and probing.

    `state` has all models, and `event.active` those that still train. At any event, `scatter_into(state, event.active)`
    brings the tensors of `state` up to date; with the number of steps they are a whole checkpoint, because a row of a
    curve that is measured again comes out the same. After the last event `state` is up to date already.
    """
    eval_steps, probe_steps = frozenset(state.eval_steps), frozenset(state.probe_steps)
    active = drop_diverged(state, all_models(state), [step for step in state.eval_steps if step < done])
    step_fn: StepFn | None = None  # one update of the active models; made anew where fewer of them go on
    for step in range(done, state.steps + 1):
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
                active, step_fn = remaining, None
        if step == state.steps:
            return
        epoch, batch = divmod(step, state.steps_per_epoch)
        if step_fn is None or batch == 0:
            epoch_batches = _shuffle(active.state, epoch)
        inputs = _step_inputs(active.state, step, epoch_batches)
        note = ""
        if step_fn is None:
            step_fn, note = maybe_capture(active.state, partial(_update, active.state), inputs)
        _train_step(active.state, step_fn, inputs)
        yield TrainEvent(step + 1, "train", active, note)


def _shuffle(state: TrainState, epoch: int) -> EpochBatches | None:
    """The training examples as drawn for this epoch; None where a batch is all of them as they are."""
    trial, examples, device = state.trials[0], state.dataset.size("train"), state.fail_step.device
    if trial.batch_size == examples and trial.augment == "none":
        return None
    seeds = [trial.seed for trial in state.trials]
    # "S N", a row for each seed S -> "M N"
    orders = [torch.randperm(examples, generator=generator(seed, "order", epoch)) for seed in dict.fromkeys(seeds)]
    indices = to_device(torch.stack(orders), device)[rows_of_seeds(seeds, device)]
    # "P M N", drawn for example 0, 1, ... -> "P M N", in the order of the indices
    augmentation = draw_augmentation(trial.augment, seeds, examples, epoch, device)
    if augmentation is not None:
        augmentation = augmentation.gather(2, indices.expand(len(augmentation), -1, -1))
    return EpochBatches(indices, augmentation)


def _step_inputs(state: TrainState, step: int, epoch_batches: EpochBatches | None) -> StepInputs:
    """The inputs of the update after `step`."""
    trial = state.trials[0]
    micro_batches: list[EpochBatches] = []
    if epoch_batches is not None:
        batch = _select_batch(state, step, epoch_batches)
        micro_batches = [_local_part(state, batch, part) for part in range(trial.accumulation_steps)]
    factor, corrections = lr_factor(trial, step, state.steps), state.optimizer.corrections(step)
    return StepInputs(step, tuple(micro_batches), factor, corrections)


def _select_batch(state: TrainState, step: int, epoch_batches: EpochBatches) -> EpochBatches:
    """The batch of the update after `step`."""
    start = step % state.steps_per_epoch * state.trials[0].batch_size
    stop = start + state.trials[0].batch_size
    return epoch_batches.map(lambda tensor: tensor[..., start:stop])


def _local_part(state: TrainState, batch: EpochBatches, part: int) -> EpochBatches:
    """This rank's chunk of one of the micro-batches that a batch is split into."""
    accumulation_steps = state.trials[0].accumulation_steps
    micro_batch = batch.map(lambda tensor: tensor.tensor_split(accumulation_steps, -1)[part])
    return micro_batch.map(lambda tensor: state.dist.local_chunk(tensor, -1))


def _train_step(state: TrainState, step_fn: StepFn, inputs: StepInputs) -> None:
    """Update every model, and keep the losses."""
    state.loss_buffer[inputs.step % LOSS_BUFFER_STEPS] = step_fn(inputs)
    done = inputs.step + 1
    if done % LOSS_BUFFER_STEPS == 0 or done == state.eval_steps[_eval_index(state, done)]:
        _flush_loss_buffer(state, done)


def _update(state: TrainState, inputs: StepInputs) -> Float[Tensor, "M"]:
    """Update every model, and return the losses before; reads nothing but inputs and tensors: it may be captured."""
    losses, grads = _gradients(state, inputs)
    if state.max_grad_norms is not None:
        grads = clip_grad_norm(grads, state.max_grad_norms)
    groups = {key: group.scale_lr(inputs.lr_factor) for key, group in state.param_groups.items()}
    weights = state.ensemble.weights
    settings = {name: groups[weight.ndim, name in state.norm_params] for name, weight in weights.items()}
    update(state.optimizer, weights, grads, state.optimizer_state, settings, inputs.corrections)
    return losses


def _gradients(state: TrainState, inputs: StepInputs) -> tuple[Float[Tensor, "M"], Mapping[str, Tensor]]:
    """The models' mean losses over a batch and their gradients, accumulated over its micro-batches.

    On several ranks the losses are those of this rank's examples; the mean over the ranks is that over the batch.
    """
    trial, ensemble = state.trials[0], state.ensemble
    _seed_dropout(state, inputs.step)
    losses, grads = None, None
    for part in range(trial.accumulation_steps):
        batch = _micro_batch(state, inputs, part)
        ensemble.count_batches(inputs.step * trial.accumulation_steps + part)
        loss_fn = partial(cross_entropy, y=batch.y, batch_size=trial.batch_size / state.dist.world_size)
        is_final = part + 1 == trial.accumulation_steps
        part_losses, grads = ensemble.gradients(
            batch.x, shared=batch.shared, loss_fn=loss_fn, accumulate_into=grads, final=is_final
        )
        losses = part_losses if losses is None else losses + part_losses
    assert losses is not None
    assert grads is not None
    return losses, grads


def _micro_batch(state: TrainState, inputs: StepInputs, part: int) -> Batch:
    """This rank's examples and labels of one of the batch's micro-batches."""
    if inputs.micro_batches:
        return _load_batch(state, inputs.micro_batches[part])
    accumulation_steps, (x, y) = state.trials[0].accumulation_steps, state.data["train"]
    x, y = x.tensor_split(accumulation_steps)[part], y.tensor_split(accumulation_steps, -1)[part]
    return Batch(state.dist.local_chunk(x), state.dist.local_chunk(y, -1), shared=True)


def _load_batch(state: TrainState, batch: EpochBatches | None) -> Batch:
    """The examples of a batch, augmented, and their labels; None stands for all training examples as they are."""
    x, y = state.data["train"]
    if batch is None:
        return Batch(x, y, shared=True)
    # "N ..." -> "B M ..."
    augmented = apply_augmentation(state.trials[0].augment, x[batch.indices.T], batch.augmentation)
    return Batch(augmented, gather_labels(y, batch.indices), shared=False)


def _probe(state: TrainState, step: int) -> None:
    """Write the row of this step into the probes' curves, with the batch of the update after it at hand."""
    state = as_single_process(state, state.trials[0].accumulation_steps)
    epoch_batches = _shuffle(state, step // state.steps_per_epoch)
    next_batch = None if epoch_batches is None else _select_batch(state, step, epoch_batches)
    measure(state, step, _load_batch(state, next_batch))


def _seed_dropout(state: TrainState, step: int) -> None:
    """Make what each model draws in forward passes (dropout) a function of its own seed, the step and the rank."""
    if state.ensemble.is_stochastic:
        rank = state.dist.rank
        name = f"noise/{rank}" if rank else "noise"
        state.ensemble.seed_draws([sub_seed(trial.seed, name, step) for trial in state.trials])


def _flush_loss_buffer(state: TrainState, done: int) -> None:
    """Add the losses since the last time to `batch_loss`, and record where each model's first was not finite."""
    since = max((done - 1) // LOSS_BUFFER_STEPS * LOSS_BUFFER_STEPS, state.eval_steps[_eval_index(state, done) - 1])
    # "steps M"
    losses = state.loss_buffer[since % LOSS_BUFFER_STEPS : (done - 1) % LOSS_BUFFER_STEPS + 1]
    if state.dist.world_size > 1:
        losses = losses.clone()
        state.dist.all_reduce_sum(losses)
        losses /= state.dist.world_size
    state.batch_loss.add_(losses.sum(0, dtype=state.batch_loss.dtype))
    is_failed = ~losses.isfinite()
    record_failures(state, is_failed.any(0), since + 1 + is_failed.int().argmax(0))


def _eval_index(state: TrainState, step: int) -> int:
    """The index in `eval_steps` of the first evaluation at this step or later."""
    return bisect_left(state.eval_steps, step)
