"""Small data of each task, and a model that gives an output for each position."""

from dataclasses import replace

import numpy as np
import torch
from sklearn import metrics as sk
from torch import Tensor, nn
from torch.nn import functional as F

from harness.data.datasets import Dataset

TASKS = ("classification", "regression", "multilabel", "sequence")


def with_task(data: Dataset, task: str) -> Dataset:
    """The small images with other targets, functions of the images: two numbers, three labels, a class of each row."""
    if task == "classification":
        return data
    rows = {split: x[:, 0].mean(2) for split, x in data.x.items()}  # "N 6"
    of_task = {
        "regression": lambda r: np.stack([3 + r.sum(1), r[:, 0] ** 2], 1),
        "multilabel": lambda r: (r[:, :3] > [[0.5, 1.0, 1.5]]).astype(float),
        "sequence": lambda r: np.digitize(r, [0.5, 1.5]),
    }
    kind = np.int64 if task == "sequence" else data.x["train"].dtype
    y = {split: of_task[task](r).astype(kind) for split, r in rows.items()}
    return replace(data, y=y, classes=3 if task == "sequence" else 0, task=task)


class PerRow(nn.Module):
    """The same small net for each row of an image: an output for each position."""

    def __init__(self, outputs: int, per_position: bool) -> None:
        super().__init__()
        assert per_position
        self.hidden, self.last = nn.Linear(5, 7), nn.Linear(7, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.hidden(x[:, 0])))


def plain_loss(task: str, out: Tensor, y: Tensor) -> Tensor:
    """The mean loss, by the functions that torch has."""
    if task == "regression":
        return F.mse_loss(out, y)
    if task == "multilabel":
        return F.binary_cross_entropy_with_logits(out, y)
    return F.cross_entropy(out.flatten(0, -2), y.flatten())


def plain_metrics(task: str, out: Tensor, y: Tensor) -> dict[str, float]:
    """The metrics of a split, by the functions of scikit-learn."""
    if task == "regression":
        return {
            "rmse": sk.root_mean_squared_error(y, out),
            "mae": sk.mean_absolute_error(y, out),
            "r2": sk.r2_score(y, out),
        }
    if task == "multilabel":
        return {
            "f1": sk.f1_score(y, out > 0, average="macro", zero_division=0),
            "label_accuracy": 1 - sk.hamming_loss(y, out > 0),
            "exact_match": sk.accuracy_score(y, out > 0),
        }
    accuracy = {"accuracy": (out.argmax(-1) == y).double().mean().item()}
    perplexity = {"perplexity": torch.exp(plain_loss(task, out, y)).item()} if task == "sequence" else {}
    return accuracy | perplexity


def spread(outputs: Tensor, targets: Tensor) -> Tensor:
    """A metric that is no mean over examples."""
    return (outputs.float().std() - targets.float().std()).abs()
