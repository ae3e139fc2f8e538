"""Applying a trained model to examples: its predictions, and how many are correct."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.data.array_files import read_csv, read_npz
from harness.data.datasets import load_dataset
from harness.ensemble.bn_statistics import batches
from harness.errors import NO_ERRORS, ModelError, UsageError, error_line
from harness.nn.module_state import input_dtype
from harness.spec.suite import Functions

PREDICT_BATCH = 2048  # examples at once, where that does not change the predictions


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples, and their labels where they are known."""

    x: Tensor  # "N ..."
    y: Tensor | None  # "N"


def read_examples(data: str, input_shape: tuple[int, ...], classes: int, factories: Functions) -> Examples:
    """The examples in a .csv or .npz file, or the test examples of the dataset of that name, shaped for the model."""
    if data.endswith(".csv"):
        x, y = read_csv(Path(data))
    elif data.endswith(".npz"):
        arrays = read_npz(Path(data))
        names = ("x", "y") if "x" in arrays else ("x_test", "y_test")
        if names[0] not in arrays:
            raise UsageError(
                f"{data} needs an array x (and y, the labels), or x_test; it has {', '.join(arrays)!r:.100}"
            )
        x, y = arrays[names[0]], arrays.get(names[1])
    else:
        dataset = load_dataset(data, Path(), factories)
        x, y = dataset.x["test"], dataset.y["test"]
    return Examples(shaped(data, x, input_shape), None if y is None else labelled(data, y, len(x), classes))


def shaped(data: str, x: NDArray[Any], input_shape: tuple[int, ...]) -> Tensor:
    """The examples in the shape that the model takes; UsageError where they have another number of values."""
    if x.dtype.kind not in "fiub" or x.ndim < 2 or not len(x) or x[0].size != np.prod(input_shape):
        got = f"{x.dtype} of shape {x.shape}"
        shape = ", ".join(map(str, input_shape))
        raise UsageError(f"{data}: the model takes numbers of shape (N, {shape}), got {got}")
    if not np.isfinite(x).all():
        raise UsageError(f"{data}: holds NaN, infinite or missing values; fill or leave out these examples")
    return torch.from_numpy(np.ascontiguousarray(x, np.float32).reshape(-1, *input_shape))


def labelled(data: str, y: NDArray[Any], examples: int, classes: int) -> Tensor:
    """The labels; UsageError unless there is one for each example, and all are classes that the model knows."""
    is_valid = (
        y.ndim == 1 and y.dtype.kind in "fiub" and len(y) == examples and np.isfinite(y).all() and (y % 1 == 0).all()
    )
    if not is_valid or y.min() < 0 or y.max() >= classes:
        raise UsageError(f"{data}: labels must be whole numbers from 0 to {classes - 1}, one for each example")
    return torch.from_numpy(y.astype(np.int64))


def as_taken(model: nn.Module, x: Tensor) -> Tensor:
    """The examples on the model's device, in the type of its weights."""
    return x.to(next(model.parameters(), x).device, input_dtype(model))


@torch.no_grad()
def scores(model: nn.Module, x: Tensor, classes: int, batch_size: int = PREDICT_BATCH) -> Float[Tensor, "N K"]:
    """The model's output for each example, on the CPU.

    UsageError where a batch norm is left without a variance, ModelError where the model is not one of `classes`.
    """
    try:
        out = torch.cat([model(batch).cpu() for batch in batches(as_taken(model, x), batch_size)])
    except ValueError as error:
        raise UsageError(
            "a batch with one value per channel has no variance; evaluate more examples together"
        ) from error
    except NO_ERRORS:
        raise
    except BaseException as error:  # whoever wrote the module, it may raise anything
        raise ModelError(f"the model can't be run: {error_line(error)[:200]}") from error
    if out.shape != (len(x), classes):
        raise ModelError(f"the model must give scores of shape {(len(x), classes)}, got {tuple(out.shape)}")
    return out


def loss_and_accuracy(out: Float[Tensor, "N K"], y: Int[Tensor, "N"]) -> tuple[float, float]:
    """The mean cross-entropy in nats, and the accuracy."""
    loss = F.cross_entropy(out.double(), y).item()
    return loss, (out.argmax(1) == y).double().mean().item()


def confusion(out: Float[Tensor, "N K"], y: Int[Tensor, "N"]) -> Int[Tensor, "K K"]:
    """The confusion matrix: how many examples of each class (row) are predicted as each class (column)."""
    classes = out.shape[1]
    return torch.bincount(y * classes + out.argmax(1), minlength=classes**2).view(classes, classes)
