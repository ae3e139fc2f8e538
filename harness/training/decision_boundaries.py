"""The classes that trained models predict all over the plane, where the data have two dimensions: for a report."""

from collections.abc import Iterator, Set
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data.datasets import Dataset
from harness.io import write_atomically
from harness.rng import sub_seed
from harness.spec.own_code.data_files import drawn_name
from harness.spec.trial import Trial, Value
from harness.training.state import TrainState

POINTS = 96  # along each side
MARGIN = 0.1  # of the data's extent, on each side of them
NOT_FINITE = 255  # the class where an output is not finite


@torch.no_grad()
def decision_boundaries(state: TrainState, seeds: Set[Value]) -> Iterator[tuple[Trial, bytes]]:
    """Each trial with one of these seeds, and an .npz.

    It holds `x` and `y` along the sides, and `classes`, the predicted class at each [y, x].

    Nothing where the data have not two dimensions or stay on disk, or more classes than a byte can tell apart, or where
    a prediction depends on the other points in the batch.
    """
    dataset, training_examples = state.dataset, state.data["train"][0]
    if not isinstance(training_examples, Tensor):
        return
    if not _is_plane(dataset) or dataset.classes > NOT_FINITE or not state.trials[0].norm_track_running_stats:
        return
    x, y = _sides(dataset)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    examples = torch.from_numpy(points).to(training_examples)
    if state.ensemble.stack.draws:
        state.ensemble.seed_draws([sub_seed(trial.seed, "boundary") for trial in state.trials])
    sections = 1 if state.ensemble.backend.takes_any_batch else -(-len(points) // state.eval_batch_size)
    with state.ensemble.eval_mode():
        # Each "M K N"
        outputs = [state.ensemble(batch, shared=True) for batch in examples.tensor_split(sections)]
    # "M N"
    predicted = torch.cat(
        [output.max(1).indices.masked_fill(~output.isfinite().all(1), NOT_FINITE) for output in outputs], dim=1
    )
    for trial, classes in zip(state.trials, predicted.cpu().numpy().astype(np.uint8), strict=False):
        if trial.seed not in seeds:
            continue
        file = BytesIO()
        np.savez_compressed(file, x=x, y=y, classes=classes.reshape(POINTS, POINTS))
        yield trial, file.getvalue()


def _sides(dataset: Dataset) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Evenly spaced values of both features, as far as the training examples reach and a little beyond."""
    train = np.asarray(dataset.x["train"])
    low, high = train.min(axis=0), train.max(axis=0)
    margin = MARGIN * (high - low)
    x, y = (np.linspace(a, b, POINTS, dtype=np.float32) for a, b in zip(low - margin, high + margin, strict=True))
    return x, y


def _is_plane(dataset: Dataset) -> bool:
    """Whether the data are points of a plane, in classes."""
    return dataset.input_shape == (2,) and dataset.vocabulary is None and dataset.task == "classification"


def save_for_report(dataset: Dataset, folder: Path | None, *, standardize: bool) -> None:
    """Write two-dimensional data in memory into a folder, where one is given, so that a report can draw them."""
    if folder is None or not isinstance(dataset.x["train"], np.ndarray) or not _is_plane(dataset):
        return
    path = folder / f"{drawn_name(dataset.name, standardize=standardize)}.npz"
    if not path.exists():
        file = BytesIO()
        np.savez(file, **{f"{axis}_{s}": getattr(dataset, axis)[s] for axis in "xy" for s in ("train", "test")})
        write_atomically(path, file.getvalue())
