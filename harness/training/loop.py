"""The training loop: the only one there is."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from harness.training.optim import lr_factor, update
from harness.training.program import Program
from harness.training.streams import generator, sub_seed

CHUNK = 2048  # examples evaluated at once


def train(program: Program, done: int = 0) -> Iterator[tuple[int, str]]:
    """Train on from `done` steps; after each piece of work tell the steps done and what it was, "train" or "eval".

    Between two pieces the program can be saved: its tensors and the number of steps are all there is to know, for an
    evaluation that is done again writes the same row again.
    """
    order = torch.empty(0)
    for step in range(done, program.steps + 1):
        if step in program.marks:
            _evaluate(program, step)
            yield step, "eval"
        if step == program.steps:
            return
        epoch, batch = divmod(step, program.steps_per_epoch)
        if batch == 0 or step == done:
            order = _order(program, epoch)
        _learn(program, step, order, batch)
        yield step + 1, "train"


def _order(program: Program, epoch: int) -> Int[Tensor, "M N"]:
    """The order of the training examples in this epoch, the same for all models of one seed."""
    seeds = [trial.seed for trial in program.trials]
    seeds += seeds[-1:] * (program.stack.size - len(seeds))
    examples = program.dataset.size("train")
    orders = {s: torch.randperm(examples, generator=generator(s, "order", epoch)) for s in dict.fromkeys(seeds)}
    return torch.stack([orders[seed] for seed in seeds]).to(program.fail_step.device)


def _learn(program: Program, step: int, order: Int[Tensor, "M N"], batch: int) -> None:
    """One update of every model."""
    first, stack = program.trials[0], program.stack
    x, y = program.data["train"]
    shared = first.batch_size == len(y)  # the full batch needs neither an order nor copies
    if not shared:
        picked = order[:, batch * first.batch_size : (batch + 1) * first.batch_size]
        x, y = x[picked.T], y[picked]
    stack.count_batches(step)
    _seed_noise(program, step)
    losses = _losses(stack(x, shared=shared), y).mean(1)
    grads = torch.autograd.grad(losses.sum(), list(stack.weights.values()))
    settings = program.settings.times(lr_factor(first, step, program.steps))
    update(
        program.optimizer, stack.weights, dict(zip(stack.weights, grads, strict=True)), program.slots, settings, step
    )
    losses = losses.detach()
    _note_failures(program, losses, step + 1)
    program.batch_loss.add_(losses)


def _seed_noise(program: Program, step: int) -> None:
    """Make what a model draws in its forward pass (dropout) a function of its cohort and the step."""
    if program.stack.draws:
        torch.manual_seed(sub_seed(program.trials[0].seed, "noise", step))


def _losses(out: Float[Tensor, "M K N"], y: Tensor) -> Float[Tensor, "M N"]:
    """Cross-entropy of every example, for labels "M N" or for labels "N" that all models share."""
    return F.cross_entropy(out, y.expand(len(out), -1), reduction="none")


def _note_failures(program: Program, losses: Float[Tensor, "M"], step: int) -> None:
    """Remember where a model's loss was first not finite; asking for the numbers here would stop the device."""
    new = (program.fail_step < 0) & ~losses.isfinite()
    program.fail_step.masked_fill_(new, step)


def _evaluate(program: Program, done: int) -> None:
    """Write a row of the curves: validation and test examples always, training examples at both ends."""
    mark = program.marks.index(done)
    program.curves["batch.loss"][mark] = program.batch_loss
    ends = done in (0, program.steps)
    for split in ("train", "val", "test") if ends else ("val", "test"):
        loss, accuracy = _score(program, split)
        program.curves[f"{split}.loss"][mark] = loss
        # An output that is not a number has no largest class.
        program.curves[f"{split}.accuracy"][mark] = accuracy.masked_fill(~loss.isfinite(), torch.nan)
        if split == "train":
            _note_failures(program, loss, done)


def _score(program: Program, split: str) -> tuple[Float[Tensor, "M"], Float[Tensor, "M"]]:
    """Mean loss and accuracy of every model in evaluation mode."""
    x, y = program.data[split]
    pieces = -(-len(y) // CHUNK)
    loss = torch.zeros_like(program.batch_loss)
    right = torch.zeros_like(program.fail_step)
    with program.stack.evaluating():
        for some_x, some_y in zip(x.tensor_split(pieces), y.tensor_split(pieces), strict=True):
            out = program.stack(some_x, shared=True)
            loss += _losses(out, some_y).sum(1, dtype=loss.dtype)
            right += (out.argmax(1) == some_y).sum(1)
    return loss / len(y), right.to(loss.dtype) / len(y)
