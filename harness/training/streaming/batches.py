"""Training batches of examples on disk: those of the next updates are read while this one is made.

An update finds its examples in a window, which takes the place of all examples, with indices into it. So all that
trains on a batch is what it is in memory: gradients, augmentation, CUDA graphs, compiled code.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from jaxtyping import Int
from torch import Tensor

from harness.data.read_ahead import read_ahead
from harness.data.splits import Indices
from harness.data.streamed_tensors import StreamedTensor
from harness.ensemble.device import to_device
from harness.training.epochs import micro_batches
from harness.training.state import TrainState
from harness.training.step_inputs import EpochBatches

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class StreamedBatch:
    """What an update is made from: some training examples in main memory, and which of these it takes."""

    x: Tensor  # "R ..."
    rows: Int[Tensor, "R"]  # the training examples that these are
    micro_batches: tuple[EpochBatches, ...]  # with indices into them


def streamed_batches(state: TrainState, first: int) -> Iterator[StreamedBatch]:
    """The batches of the updates after `first` steps, in the order that training in memory has, read ahead."""
    x, _ = state.data["train"]
    assert isinstance(x, StreamedTensor)
    ahead = deque[tuple[tuple[EpochBatches, ...], Tensor]]()

    def parts() -> Iterator[Indices]:
        for batch in micro_batches(state, first, CPU):
            # In the order in which they lie on disk, each once
            indices = torch.cat([part.indices.flatten() for part in batch])
            rows, places = torch.unique(indices, return_inverse=True)
            ahead.append((tuple(_with_indices(batch, places)), rows))
            yield rows.numpy()

    for read in read_ahead(x.examples, parts(), pin=x.device.type == "cuda"):
        batch, rows = ahead.popleft()
        yield StreamedBatch(read, rows, batch)


def _with_indices(batch: tuple[EpochBatches, ...], places: Int[Tensor, "P"]) -> Iterator[EpochBatches]:
    """The parts of a batch with other indices, which come one after the other."""
    for part, own in zip(batch, torch.split(places, [part.indices.numel() for part in batch]), strict=True):
        yield replace(part, indices=own.view_as(part.indices))


def with_window(state: TrainState, first: int) -> tuple[TrainState, Iterator[tuple[EpochBatches, ...]]]:
    """The state and its batches after `first` steps; where its examples are on disk, with a window in their place.

    The window is always the same memory, and what the batch needs is there when the batch comes.
    """
    x, y = state.data["train"]
    if isinstance(x, Tensor):
        return state, micro_batches(state, first)
    rows = min(len(x), len({trial.seed for trial in state.trials}) * state.trials[0].batch_size)
    window_x = torch.zeros(rows, *x.examples.shape[1:], dtype=x.dtype, device=x.device)
    window_y = torch.zeros_like(y[..., :rows])
    windowed = replace(state, data={**state.data, "train": (window_x, window_y)})

    def batches() -> Iterator[tuple[EpochBatches, ...]]:
        for batch in streamed_batches(state, first):
            count = len(batch.rows)
            window_x[:count].copy_(batch.x, non_blocking=True)
            window_y[..., :count].copy_(y[..., to_device(batch.rows, y.device)])
            yield tuple(part.map(lambda tensor: to_device(tensor, y.device)) for part in batch.micro_batches)

    return windowed, batches()


def concatenated(batches: Sequence[StreamedBatch], y: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """The examples and targets of several updates in a row, and the indices "M B" of these one after the other."""
    starts = accumulate((len(batch.rows) for batch in batches), initial=0)
    indices = [batch.micro_batches[0].indices + start for batch, start in zip(batches, starts, strict=False)]
    x = torch.cat([batch.x for batch in batches]).to(dtype)
    return x, y[..., torch.cat([batch.rows for batch in batches])], torch.cat(indices, 1)
