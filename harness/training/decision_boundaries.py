"""What trained models say all over the plane, where the data have two dimensions: for a report to draw."""

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray

from harness.data.datasets import Dataset
from harness.spec.trial import Trial
from harness.training.state import TrainState

POINTS = 96  # along each side
BEYOND = 0.1  # of the data's extent, on each side of them
UNKNOWN = 255  # the class where an output is not finite


@torch.no_grad()
def decision_boundaries(state: TrainState) -> Iterator[tuple[Trial, bytes]]:
    """Each trial with an .npz: `x` and `y` along the sides, `classes`, the class at each [y, x], UNKNOWN where none.

    Nothing where the data have not two dimensions, or more classes than a byte can tell apart, or where what a model
    says of a point depends on the points beside it.
    """
    dataset = state.dataset
    if dataset.input_shape != (2,) or dataset.classes > UNKNOWN or not state.trials[0].norm_track_running_stats:
        return
    state.write_back()
    x, y = sides(dataset)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    examples = torch.from_numpy(points).to(state.data["train"][0])
    with state.ensemble.eval_mode():
        out = [
            state.ensemble(some, shared=True)
            for some in examples.tensor_split(-(-len(points) // state.eval_batch_size))
        ]
    best = torch.cat([some.max(1).indices.masked_fill(~some.isfinite().all(1), UNKNOWN) for some in out], dim=1)
    for trial, classes in zip(state.trials, best.cpu().numpy().astype(np.uint8), strict=False):
        sink = BytesIO()
        np.savez_compressed(sink, x=x, y=y, classes=classes.reshape(POINTS, POINTS))
        yield trial, sink.getvalue()


def sides(dataset: Dataset) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Evenly spaced values of both features, as far as the training examples reach and a little beyond."""
    low, high = dataset.x["train"].min(axis=0), dataset.x["train"].max(axis=0)
    room = BEYOND * (high - low)
    x, y = (np.linspace(a, b, POINTS, dtype=np.float32) for a, b in zip(low - room, high + room, strict=True))
    return x, y
