"""The training loop: the only one there is."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from harness.ensemble.bn_statistics import EVAL_STATISTICS, edges
from harness.ensemble.device import to_device
from harness.ensemble.distributed import sync_buffers
from harness.ensemble.ensemble import Ensemble
from harness.ensemble.optim import clip_grad_norm, lr_factor, update
from harness.nn.losses import cross_entropy, per_example_loss
from harness.probes.context import Batch
from harness.rng import generator, sub_seed
from harness.training.augmentation import apply_augmentation, draw_crop_flip, gather_labels
from harness.training.best_checkpoint import update_best
from harness.training.cuda_graphs import StepFn, maybe_capture
from harness.training.probing import as_single_process, measure
from harness.training.pruning import drop_diverged
from harness.training.state import LOSS_BUFFER_STEPS, TrainState
from harness.training.step_inputs import EpochBatches, StepInputs


def train(state: TrainState, done: int = 0) -> Iterator[tuple[int, str]]:
    """Train on from `done` steps; after each piece of work tell the steps done and what it was.

    That is "train", "eval" or "probe". Between two pieces the program can be saved: its tensors and the number of steps
    are all there is to know, for what is measured again writes the same row again.
    """
    seen: EpochBatches | None = None
    begin = True
    marks = frozenset(state.eval_steps)
    state.active.clear()
    active = drop_diverged(state, state, [mark for mark in state.eval_steps if mark < done])
    probed = frozenset(state.probe_steps)
    for step in range(done, state.steps + 1):
        if step in probed:
            _probe(active, step)
            yield step, "probe"
        if step in marks:
            _evaluate(active, step)
            state.write_back()
            update_best(state, _eval_index(state, step))
            yield step, "eval"
            smaller = drop_diverged(state, active, [step])
            begin, active = begin or smaller is not active, smaller
        if step == state.steps:
            return
        epoch, batch = divmod(step, state.steps_per_epoch)
        if begin:
            advance = maybe_capture(active, partial(_update, active))
        if batch == 0 or begin:
            seen, begin = _shuffle(active, epoch), False
        _train_step(active, advance, _step_inputs(active, step, seen))
        yield step + 1, "train"


def _shuffle(state: TrainState, epoch: int) -> EpochBatches | None:
    """The examples as drawn for this epoch; None where each batch is all of them as they are: it needs no copies."""
    first, examples, device = state.trials[0], state.dataset.size("train"), state.fail_step.device
    if first.batch_size == examples and first.augment == "none":
        return None
    seeds = [trial.seed for trial in state.trials]
    seeds += seeds[-1:] * (state.ensemble.size - len(seeds))
    rows = {seed: row for row, seed in enumerate(dict.fromkeys(seeds))}
    orders = torch.stack([torch.randperm(examples, generator=generator(seed, "order", epoch)) for seed in rows])
    order = to_device(orders, device)[to_device(torch.tensor([rows[seed] for seed in seeds]), device)]
    return EpochBatches(order, draw_crop_flip(first.augment, seeds, examples, epoch, device))


def _step_inputs(
    state: TrainState, step: int, epoch_batches: EpochBatches | None, parts: int | None = None
) -> StepInputs:
    """What the next step is told, its batch in parts; `parts` in the place of the trial's own number of them."""
    first = state.trials[0]
    cut: tuple[EpochBatches, ...] = ()
    if epoch_batches is not None:
        low = step % state.steps_per_epoch * first.batch_size
        picked = epoch_batches.indices[:, low : low + first.batch_size]
        pieces = picked.tensor_split(parts or first.accumulation_steps, 1)
        cut = tuple(epoch_batches.select(state.dist.local_chunk(piece, 1)) for piece in pieces)
    return StepInputs(step, cut, lr_factor(first, step, state.steps), state.optimizer.corrections(step))


def _train_step(state: TrainState, step_fn: StepFn, inputs: StepInputs) -> None:
    """One update of every model."""
    state.loss_buffer[inputs.step % LOSS_BUFFER_STEPS] = step_fn(inputs)
    done = inputs.step + 1
    if done % LOSS_BUFFER_STEPS == 0 or done == state.eval_steps[_eval_index(state, done)]:
        _gather_losses(state, done)


def _update(state: TrainState, inputs: StepInputs) -> Float[Tensor, "M"]:
    """One update of every model, and the losses before it, by nothing but `now` and tensors: it may be recorded."""
    losses, grads = _gradients(state, inputs)
    scaled = {kind: of.scale_lr(inputs.lr_factor) for kind, of in state.param_groups.items()}
    weights = state.ensemble.weights
    settings = {name: scaled[weight.ndim, name in state.norm_params] for name, weight in weights.items()}
    grads = grads if state.max_grad_norms is None else clip_grad_norm(grads, state.max_grad_norms)
    update(state.optimizer, weights, grads, state.optimizer_state, settings, inputs.corrections)
    return losses


def _gradients(state: TrainState, inputs: StepInputs) -> tuple[Float[Tensor, "M"], Mapping[str, Tensor]]:
    """The models' mean losses over a batch and their gradients, gathered over the parts that it is cut into.

    On several ranks the losses are those of this rank's examples; the mean over the ranks is that over the batch.
    """
    first, stack, parts = state.trials[0], state.ensemble, state.trials[0].accumulation_steps
    _seed_noise(state, inputs.step)
    losses, grads = None, None
    for part in range(parts):
        x, y, shared = _batch(state, inputs, part, parts)
        stack.count_batches(inputs.step * parts + part)
        head = partial(cross_entropy, y=y, batch_size=first.batch_size / state.dist.world_size)
        more, grads = stack.gradients(x, shared=shared, loss_fn=head, accumulate_into=grads, final=part + 1 == parts)
        losses = more if losses is None else losses + more
    assert losses is not None
    assert grads is not None
    return losses, grads


def _batch(state: TrainState, inputs: StepInputs, part: int, parts: int) -> tuple[Tensor, Tensor, bool]:
    """The examples "N M ..." and labels "M N" of each model's batch, or what all models share, and whether they do.

    Where a batch goes through the model in parts, one of them; of that, what is this rank's.
    """
    (x, y), ranks = state.data["train"], state.dist
    if not inputs.parts:
        some_x, some_y = x.tensor_split(parts)[part], y.tensor_split(parts, -1)[part]
        return ranks.local_chunk(some_x), ranks.local_chunk(some_y, -1), True
    seen = inputs.parts[part]
    mine = x[seen.indices.T] if seen.crop_flip is None else apply_augmentation(x[seen.indices.T], seen.crop_flip)
    return mine, gather_labels(y, seen.indices), False


def _probe(state: TrainState, step: int) -> None:
    """Write a row of the probes' curves: before the update after this step, with the batch of that update at hand."""
    state = as_single_process(state, state.trials[0].accumulation_steps)
    now = _step_inputs(state, step, _shuffle(state, step // state.steps_per_epoch), parts=1)
    measure(state, step, Batch(*_batch(state, now, 0, 1)))


def _seed_noise(state: TrainState, step: int) -> None:
    """Make what a model draws in its forward pass (dropout) a function of its cohort, the step and the rank."""
    if state.ensemble.is_stochastic:
        rank = state.dist.rank
        torch.manual_seed(sub_seed(state.trials[0].seed, f"noise/{rank}" if rank else "noise", step))


def _gather_losses(state: TrainState, done: int) -> None:
    """Add up the losses since the last time, and remember the first step at which each model's was not finite."""
    since = max((done - 1) // LOSS_BUFFER_STEPS * LOSS_BUFFER_STEPS, state.eval_steps[_eval_index(state, done) - 1])
    losses = state.loss_buffer[since % LOSS_BUFFER_STEPS : (done - 1) % LOSS_BUFFER_STEPS + 1]
    if state.dist.world_size > 1:
        losses = losses.clone()
        state.dist.all_reduce_sum(losses)
        losses /= state.dist.world_size
    state.batch_loss.add_(losses.sum(0, dtype=state.batch_loss.dtype))
    failed = ~losses.isfinite()
    _note_failures(state, failed.any(0), since + 1 + failed.int().argmax(0))


def _eval_index(state: TrainState, step: int) -> int:
    """How many evaluations come before this step is done: the number of the next one."""
    return bisect_left(state.eval_steps, step)


def _note_failures(state: TrainState, failed: Bool[Tensor, "M"], step: Int[Tensor, "M"] | int) -> None:
    """Remember where a model's loss was first not finite; asking for the numbers here would stop the device."""
    new = failed & (state.fail_step < 0)
    state.fail_step.copy_(torch.where(new, step, state.fail_step))


def _evaluate(state: TrainState, done: int) -> None:
    """Write a row of the curves: validation and test examples always, training examples at both ends."""
    mark = _eval_index(state, done)
    sync_buffers(list(state.ensemble.buffers.values()), state.trials[0].ddp_eval_buffers, state.dist)
    state.curves["batch.loss"][mark] = state.batch_loss
    ends = done in (0, state.steps)
    first, train = state.trials[0], state.data["train"][0]
    # Statistics that are not at hand are gathered by every rank for itself, all of them the same.
    stack = state.ensemble if first.eval_statistics == "running" else as_single_process(state).ensemble
    judged = EVAL_STATISTICS[first.eval_statistics](stack, train, first.batch_size // first.accumulation_steps)
    for split in ("train", "val", "test") if ends else ("val", "test"):
        loss, accuracy = _score(state, judged, split)
        state.curves[f"{split}.loss"][mark] = loss
        # An output that is not a number has no largest class.
        state.curves[f"{split}.accuracy"][mark] = accuracy.masked_fill(~loss.isfinite(), torch.nan)
        if split == "train":
            _note_failures(state, ~loss.isfinite(), done)


def _score(state: TrainState, judged: Ensemble, split: str) -> tuple[Float[Tensor, "M"], Float[Tensor, "M"]]:
    """Mean loss and accuracy of every model in evaluation mode; several ranks take turns with the pieces."""
    x, y = state.data[split]
    examples = y.shape[-1]
    pieces = _pieces(state, examples)
    loss = torch.zeros_like(state.batch_loss)
    right = torch.zeros_like(state.fail_step)
    counted = torch.zeros_like(right[0])
    with judged.eval_mode():
        all_pieces = list(zip(x.tensor_split(pieces), y.tensor_split(pieces, -1), strict=True))
        for some_x, some_y in state.dist.shard(all_pieces):
            out = judged(some_x, shared=True)
            loss += per_example_loss(out, some_y).sum(1, dtype=loss.dtype)
            right += (out.max(1).indices == some_y).sum(1)  # ten times as fast as argmax, which does the same
            counted += len(some_x)
    state.dist.all_reduce_sum(loss, right, counted)
    assert state.dist.world_size == 1 or counted.item() == examples
    return loss / examples, right.to(loss.dtype) / examples


def _pieces(state: TrainState, examples: int) -> int | list[int]:
    """How many pieces examples are evaluated in, or where they are cut: into batches, where company matters."""
    first = state.trials[0]
    if first.eval_statistics == "batch":
        return edges(examples, first.batch_size // first.accumulation_steps)
    return -(-examples // state.eval_batch_size)
