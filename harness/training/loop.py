"""The training loop: the only one there is."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from harness.ensemble.bn_statistics import JUDGED, edges
from harness.ensemble.device import uploaded
from harness.ensemble.distributed import settle
from harness.ensemble.ensemble import Stack
from harness.ensemble.optim import clipped, lr_factor, update
from harness.nn.losses import cross_entropy, each_loss
from harness.probes.context import Batch
from harness.rng import generator, sub_seed
from harness.training.augmentation import draw_moves, labels_of, moved
from harness.training.best_checkpoint import note_best
from harness.training.cuda_graphs import Advance, fastest
from harness.training.probing import in_one_process, measure
from harness.training.pruning import go_on
from harness.training.state import RECENT, Program
from harness.training.step_inputs import Now, Seen


def train(program: Program, done: int = 0) -> Iterator[tuple[int, str]]:
    """Train on from `done` steps; after each piece of work tell the steps done and what it was.

    That is "train", "eval" or "probe". Between two pieces the program can be saved: its tensors and the number of steps
    are all there is to know, for what is measured again writes the same row again.
    """
    seen: Seen | None = None
    begin = True
    marks = frozenset(program.marks)
    program.part.clear()
    active = go_on(program, program, [mark for mark in program.marks if mark < done])
    probed = frozenset(program.probe_marks)
    for step in range(done, program.steps + 1):
        if step in probed:
            _probe(active, step)
            yield step, "probe"
        if step in marks:
            _evaluate(active, step)
            program.write_back()
            note_best(program, _marks_before(program, step))
            yield step, "eval"
            smaller = go_on(program, active, [step])
            begin, active = begin or smaller is not active, smaller
        if step == program.steps:
            return
        epoch, batch = divmod(step, program.steps_per_epoch)
        if begin:
            advance = fastest(active, partial(_advance, active))
        if batch == 0 or begin:
            seen, begin = _epoch(active, epoch), False
        _learn(active, advance, _now(active, step, seen))
        yield step + 1, "train"


def _epoch(program: Program, epoch: int) -> Seen | None:
    """The examples as drawn for this epoch; None where each batch is all of them as they are: it needs no copies."""
    first, examples, device = program.trials[0], program.dataset.size("train"), program.fail_step.device
    if first.batch_size == examples and first.augment == "none":
        return None
    seeds = [trial.seed for trial in program.trials]
    seeds += seeds[-1:] * (program.stack.size - len(seeds))
    rows = {seed: row for row, seed in enumerate(dict.fromkeys(seeds))}
    orders = torch.stack([torch.randperm(examples, generator=generator(seed, "order", epoch)) for seed in rows])
    order = uploaded(orders, device)[uploaded(torch.tensor([rows[seed] for seed in seeds]), device)]
    return Seen(order, draw_moves(first.augment, seeds, examples, epoch, device))


def _now(program: Program, step: int, seen: Seen | None, parts: int | None = None) -> Now:
    """What the next step is told, its batch in parts; `parts` in the place of the trial's own number of them."""
    first = program.trials[0]
    cut: tuple[Seen, ...] = ()
    if seen is not None:
        low = step % program.steps_per_epoch * first.batch_size
        picked = seen.picked[:, low : low + first.batch_size]
        pieces = picked.tensor_split(parts or first.accumulate, 1)
        cut = tuple(seen.of(program.ranks.share(piece, 1)) for piece in pieces)
    return Now(step, cut, lr_factor(first, step, program.steps), program.optimizer.corrections(step))


def _learn(program: Program, advance: Advance, now: Now) -> None:
    """One update of every model."""
    program.recent[now.step % RECENT] = advance(now)
    done = now.step + 1
    if done % RECENT == 0 or done == program.marks[_marks_before(program, done)]:
        _gather_losses(program, done)


def _advance(program: Program, now: Now) -> Float[Tensor, "M"]:
    """One update of every model, and the losses before it, by nothing but `now` and tensors: it may be recorded."""
    losses, grads = _gradients(program, now)
    scaled = {kind: of.times(now.factor) for kind, of in program.settings.items()}
    weights = program.stack.weights
    settings = {name: scaled[weight.ndim, name in program.norms] for name, weight in weights.items()}
    grads = grads if program.limits is None else clipped(grads, program.limits)
    update(program.optimizer, weights, grads, program.slots, settings, now.corrections)
    return losses


def _gradients(program: Program, now: Now) -> tuple[Float[Tensor, "M"], Mapping[str, Tensor]]:
    """The models' mean losses over a batch and their gradients, gathered over the parts that it is cut into.

    On several ranks the losses are those of this rank's examples; the mean over the ranks is that over the batch.
    """
    first, stack, parts = program.trials[0], program.stack, program.trials[0].accumulate
    _seed_noise(program, now.step)
    losses, grads = None, None
    for part in range(parts):
        x, y, shared = _batch(program, now, part, parts)
        stack.count_batches(now.step * parts + part)
        head = partial(cross_entropy, y=y, of=first.batch_size / program.ranks.size)
        more, grads = stack.gradients(x, shared=shared, head=head, before=grads, last=part + 1 == parts)
        losses = more if losses is None else losses + more
    assert losses is not None
    assert grads is not None
    return losses, grads


def _batch(program: Program, now: Now, part: int, parts: int) -> tuple[Tensor, Tensor, bool]:
    """The examples "N M ..." and labels "M N" of each model's batch, or what all models share, and whether they do.

    Where a batch goes through the model in parts, one of them; of that, what is this rank's.
    """
    (x, y), ranks = program.data["train"], program.ranks
    if not now.parts:
        some_x, some_y = x.tensor_split(parts)[part], y.tensor_split(parts, -1)[part]
        return ranks.share(some_x), ranks.share(some_y, -1), True
    seen = now.parts[part]
    mine = x[seen.picked.T] if seen.moves is None else moved(x[seen.picked.T], seen.moves)
    return mine, labels_of(y, seen.picked), False


def _probe(program: Program, step: int) -> None:
    """Write a row of the probes' curves: before the update after this step, with the batch of that update at hand."""
    program = in_one_process(program, program.trials[0].accumulate)
    now = _now(program, step, _epoch(program, step // program.steps_per_epoch), parts=1)
    measure(program, step, Batch(*_batch(program, now, 0, 1)))


def _seed_noise(program: Program, step: int) -> None:
    """Make what a model draws in its forward pass (dropout) a function of its cohort, the step and the rank."""
    if program.stack.draws:
        rank = program.ranks.rank
        torch.manual_seed(sub_seed(program.trials[0].seed, f"noise/{rank}" if rank else "noise", step))


def _gather_losses(program: Program, done: int) -> None:
    """Add up the losses since the last time, and remember the first step at which each model's was not finite."""
    since = max((done - 1) // RECENT * RECENT, program.marks[_marks_before(program, done) - 1])
    losses = program.recent[since % RECENT : (done - 1) % RECENT + 1]
    if program.ranks.size > 1:
        losses = losses.clone()
        program.ranks.add_up(losses)
        losses /= program.ranks.size
    program.batch_loss.add_(losses.sum(0, dtype=program.batch_loss.dtype))
    failed = ~losses.isfinite()
    _note_failures(program, failed.any(0), since + 1 + failed.int().argmax(0))


def _marks_before(program: Program, step: int) -> int:
    """How many evaluations come before this step is done: the number of the next one."""
    return bisect_left(program.marks, step)


def _note_failures(program: Program, failed: Bool[Tensor, "M"], step: Int[Tensor, "M"] | int) -> None:
    """Remember where a model's loss was first not finite; asking for the numbers here would stop the device."""
    new = failed & (program.fail_step < 0)
    program.fail_step.copy_(torch.where(new, step, program.fail_step))


def _evaluate(program: Program, done: int) -> None:
    """Write a row of the curves: validation and test examples always, training examples at both ends."""
    mark = _marks_before(program, done)
    settle(list(program.stack.buffers.values()), program.trials[0].eval_buffers, program.ranks)
    program.curves["batch.loss"][mark] = program.batch_loss
    ends = done in (0, program.steps)
    first, train = program.trials[0], program.data["train"][0]
    # Statistics that are not at hand are gathered by every rank for itself, all of them the same.
    stack = program.stack if first.eval_statistics == "running" else in_one_process(program).stack
    judged = JUDGED[first.eval_statistics](stack, train, first.batch_size // first.accumulate)
    for split in ("train", "val", "test") if ends else ("val", "test"):
        loss, accuracy = _score(program, judged, split)
        program.curves[f"{split}.loss"][mark] = loss
        # An output that is not a number has no largest class.
        program.curves[f"{split}.accuracy"][mark] = accuracy.masked_fill(~loss.isfinite(), torch.nan)
        if split == "train":
            _note_failures(program, ~loss.isfinite(), done)


def _score(program: Program, judged: Stack, split: str) -> tuple[Float[Tensor, "M"], Float[Tensor, "M"]]:
    """Mean loss and accuracy of every model in evaluation mode; several ranks take turns with the pieces."""
    x, y = program.data[split]
    examples = y.shape[-1]
    pieces = _pieces(program, examples)
    loss = torch.zeros_like(program.batch_loss)
    right = torch.zeros_like(program.fail_step)
    counted = torch.zeros_like(right[0])
    with judged.evaluating():
        all_pieces = list(zip(x.tensor_split(pieces), y.tensor_split(pieces, -1), strict=True))
        for some_x, some_y in program.ranks.deal(all_pieces):
            out = judged(some_x, shared=True)
            loss += each_loss(out, some_y).sum(1, dtype=loss.dtype)
            right += (out.max(1).indices == some_y).sum(1)  # ten times as fast as argmax, which does the same
            counted += len(some_x)
    program.ranks.add_up(loss, right, counted)
    assert program.ranks.size == 1 or counted.item() == examples
    return loss / examples, right.to(loss.dtype) / examples


def _pieces(program: Program, examples: int) -> int | list[int]:
    """How many pieces examples are evaluated in, or where they are cut: into batches, where company matters."""
    first = program.trials[0]
    if first.eval_statistics == "batch":
        return edges(examples, first.batch_size // first.accumulate)
    return -(-examples // program.chunk)
