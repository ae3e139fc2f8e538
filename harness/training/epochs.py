"""The order in which models see their training examples, and the batches that it is cut into."""

import torch

from harness.ensemble.device import to_device
from harness.probes.context import Batch
from harness.rng import generator
from harness.tasks.task import gather_targets
from harness.training.augmentation import apply_augmentation, draw_augmentation, rows_of_seeds
from harness.training.state import TrainState
from harness.training.step_inputs import EpochBatches


def shuffle(state: TrainState, epoch: int) -> EpochBatches | None:
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


def select_batch(state: TrainState, step: int, epoch_batches: EpochBatches) -> EpochBatches:
    """The batch of the update after `step`."""
    start = step % state.steps_per_epoch * state.trials[0].batch_size
    stop = start + state.trials[0].batch_size
    return epoch_batches.map(lambda tensor: tensor[..., start:stop])


def load_batch(state: TrainState, batch: EpochBatches | None) -> Batch:
    """The examples of a batch, augmented, and their labels; None stands for all training examples as they are."""
    x, y = state.data["train"]
    if batch is None:
        return Batch(x, y, shared=True)
    # "N ..." -> "B M ..."
    augmented = apply_augmentation(state.trials[0].augment, x[batch.indices.T], batch.augmentation)
    return Batch(augmented, gather_targets(y, batch.indices), shared=False)
