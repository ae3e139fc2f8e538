"""The order in which models see their training examples, and the batches that it is cut into."""

from collections.abc import Iterator

import torch
from torch import Tensor

from harness.ensemble.device import to_device
from harness.probes.context import Batch
from harness.rng import generator
from harness.tasks.task import gather_targets
from harness.training.augmentation import apply_augmentation, draw_augmentation, rows_of_seeds
from harness.training.state import TrainState
from harness.training.step_inputs import EpochBatches


def micro_batches(
    state: TrainState, first: int, device: torch.device | None = None
) -> Iterator[tuple[EpochBatches, ...]]:
    """This rank's parts of the batches of all updates after `first` steps; none of one that is all examples."""
    epoch_batches = None
    for step in range(first, state.steps):
        epoch, batch = divmod(step, state.steps_per_epoch)
        if step == first or batch == 0:
            epoch_batches = shuffle(state, epoch, device)
        yield () if epoch_batches is None else _parts(state, select_batch(state, step, epoch_batches))


def _parts(state: TrainState, batch: EpochBatches) -> tuple[EpochBatches, ...]:
    """This rank's chunk of each of the micro-batches that a batch is split into."""
    count = state.trials[0].accumulation_steps
    return tuple(
        batch.map(lambda tensor: state.dist.local_chunk(tensor.tensor_split(count, -1)[part], -1))  # noqa: B023
        for part in range(count)
    )


def shuffle(state: TrainState, epoch: int, device: torch.device | None = None) -> EpochBatches | None:
    """The training examples as drawn for this epoch; None where a batch is all of them as they are.

    They are on the device of the state unless told otherwise.
    """
    trial, examples, device = state.trials[0], state.dataset.size("train"), device or state.fail_step.device
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


def select_batch(state: TrainState, step: int, epoch_batches: EpochBatches) -> EpochBatches:
    """The batch of the update after `step`."""
    start = step % state.steps_per_epoch * state.trials[0].batch_size
    stop = start + state.trials[0].batch_size
    return epoch_batches.map(lambda tensor: tensor[..., start:stop])


def load_batch(state: TrainState, batch: EpochBatches | None) -> Batch:
    """The examples of a batch, augmented, and their labels; None stands for all training examples as they are."""
    x, y = state.data["train"]
    if batch is None:
        assert isinstance(x, Tensor)
        return Batch(x, y, shared=True)
    # "N ..." -> "B M ..."
    augmented = apply_augmentation(state.trials[0].augment, x[batch.indices.T], batch.augmentation)
    return Batch(augmented, gather_targets(y, batch.indices), shared=False)
