"""Targets: what there is to learn of each example, which is another thing in each task."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.arrays import as_array, as_float32
from harness.data.labels import as_labels
from harness.data.tokens import as_tokens
from harness.errors import SuiteError

MAX_TARGETS = 100_000  # of an example
IGNORED = -100  # the target of a position that counts in no loss and in no metric, as in torch


def as_numbers(where: str, value: Any) -> NDArray[np.float32]:
    """One number for each example, or several: "N K"."""
    y = as_array(where, value)
    y = y[:, None] if y.ndim == 1 else y
    if y.ndim != 2 or not 1 <= y.shape[1] <= MAX_TARGETS:
        raise SuiteError(f"{where}: needs a number, or several, for each example, got an array of shape {y.shape}")
    return as_float32(where, y)


def as_label_matrix(where: str, value: Any) -> NDArray[np.float32]:
    """For each example which of K labels it has: "N K", of zeros and ones."""
    y = as_array(where, value)
    if y.ndim != 2 or not 1 <= y.shape[1] <= MAX_TARGETS:
        raise SuiteError(
            f"{where}: needs a column of 0 and 1 for each label, got an array of shape {y.shape}; of one label for "
            "each example the task is 'classification'"
        )
    numbers = as_float32(where, y)
    if not (is_label := (numbers == 0) | (numbers == 1)).all():
        row, column = (int(i) for i in np.argwhere(~is_label)[0])
        raise SuiteError(f"{where}: must be 0 or 1 for each label, got {y[row, column]!s:.40} at [{row}, {column}]")
    return numbers


def as_position_labels(where: str, value: Any) -> NDArray[Any]:
    """A label for each position of each example, "N L": a whole number or text, or IGNORED."""
    y = as_array(where, value)
    if y.ndim != 2 or not y.shape[1]:
        raise SuiteError(f"{where}: needs a label for each position, (examples, positions), got shape {y.shape}")
    labels = as_labels(where, y.ravel()).reshape(y.shape)
    _require_targets(where, labels)
    return labels


def as_next_tokens(where: str, value: Any, vocabulary: int) -> NDArray[np.int64]:
    """The token that follows at each position, or IGNORED after the end of an example: "N L"."""
    y = as_array(where, value)
    ignored = is_ignored(y)
    tokens = np.where(ignored, IGNORED, as_tokens(where, np.where(ignored, 0, y), vocabulary))
    _require_targets(where, tokens)
    return tokens


def is_ignored(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Which targets don't count: those of positions alone can be such."""
    return y == IGNORED if y.ndim == 2 and y.dtype.kind == "i" else np.zeros(y.shape, bool)


def ignores_positions(y: Mapping[str, NDArray[Any]]) -> bool:
    """Whether some positions of some split don't count."""
    return any(bool(is_ignored(targets).any()) for targets in y.values())


def _require_targets(where: str, y: NDArray[Any]) -> None:
    """SuiteError where no position of an example counts: a batch of such would have no loss."""
    if (is_empty := is_ignored(y).all(1)).any():
        raise SuiteError(
            f"{where}: all positions of example {int(is_empty.argmax())} are {IGNORED}, which is a target that is "
            "ignored; leave out the example"
        )


TARGETS: Mapping[str, Callable[[str, Any], NDArray[Any]]] = {  # task -> how its targets are read
    "classification": as_labels,
    "regression": as_numbers,
    "multilabel": as_label_matrix,
    "sequence": as_position_labels,
}


def check_shapes(where: str, y: Mapping[str, NDArray[Any]]) -> None:
    """SuiteError where examples have other numbers of targets in one split than in another."""
    shapes = {split: targets.shape[1:] for split, targets in y.items()}
    if len(set(shapes.values())) > 1:
        raise SuiteError(f"{where}: examples must have as many targets in all splits, got {shapes}")
