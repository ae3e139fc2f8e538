"""Predictions as a table: a row for each example, or for each position of each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from harness.data.labels import Label
from harness.data.targets import IGNORED
from harness.spec.metric import WITH_CLASSES

FIRST_COLUMN = "example"
MAX_HEADER_BYTES = 2**16


def predictions(task: str, out: Tensor, y: Tensor | None, labels: Sequence[Label]) -> pd.DataFrame:
    """What a model predicts, with the targets where they are known."""
    return _of_classes(out, y, labels) if task in WITH_CLASSES else _of_numbers(task, out, y)


def is_table_of_predictions(path: Path) -> bool:
    """Whether the file begins as the tables that `predict` writes do."""
    with path.open("rb") as file:
        first, *others = file.readline(MAX_HEADER_BYTES).decode("utf-8", "replace").strip().split(",")
    return first == FIRST_COLUMN and any(column.startswith("prediction") for column in others)


def _of_classes(out: Tensor, y: Tensor | None, labels: Sequence[Label]) -> pd.DataFrame:
    positions = out.shape[1] if out.ndim > 2 else 1
    rows = np.arange(len(out) * positions)
    place = {FIRST_COLUMN: rows // positions, "position": rows % positions} if out.ndim > 2 else {FIRST_COLUMN: rows}
    probability, prediction = out.flatten(0, -2).double().softmax(1).max(1)
    names = np.array(labels)
    table = pd.DataFrame({**place, "prediction": names[prediction], "probability": probability.numpy()})
    if y is not None:
        counts = (y != IGNORED).flatten().numpy()
        table["label"] = pd.Series(names[y.flatten().numpy() * counts], dtype=None if counts.all() else object).where(
            counts
        )
    return table


def _of_numbers(task: str, out: Tensor, y: Tensor | None) -> pd.DataFrame:
    """A column for each target, numbered where there are several; of labels also how probable each is."""
    columns = {FIRST_COLUMN: np.arange(len(out))}
    for k in range(out.shape[1]):
        suffix = f"_{k}" if out.shape[1] > 1 else ""
        columns[f"prediction{suffix}"] = (out[:, k] if task == "regression" else (out[:, k] > 0).int()).numpy()
        if task == "multilabel":
            columns[f"probability{suffix}"] = out[:, k].double().sigmoid().numpy()
        if y is not None:
            columns[f"target{suffix}"] = (y[:, k] if task == "regression" else y[:, k].int()).numpy()
    return pd.DataFrame(columns)
