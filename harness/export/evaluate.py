"""Applying a trained model to examples: its predictions, and how many are correct."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.data.array_files import read_npz
from harness.data.arrays import as_float32, require_numbers
from harness.data.datasets import Dataset, load_dataset
from harness.data.encodings import Encoding, as_standardised, read_raw
from harness.data.labels import Label, as_labels, shown_labels
from harness.data.number_tables import read_csv
from harness.data.settings import DataSettings
from harness.data.targets import IGNORED, TARGETS, is_ignored
from harness.data.tokens import as_tokens
from harness.ensemble.backends.base import to_outputs
from harness.ensemble.bn_statistics import batches
from harness.errors import NO_ERRORS, ModelError, UsageError, error_line
from harness.nn.module_state import example_dtype
from harness.spec.suite import Functions
from harness.tasks.objective import Objective
from harness.tasks.scores import add_up
from harness.tasks.scores import scores as task_scores
from harness.tasks.task import laid_out

TABLES = (".csv", ".tsv", ".txt")
PREDICT_BATCH = 2048  # examples at once, where that does not change the predictions


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples, and their targets where they are known."""

    x: Tensor  # "N ..."
    y: Tensor | None  # classes "N", or "N L" of positions; numbers "N K"


def read_examples(
    data: str,
    input_shape: tuple[int, ...],
    labels: Sequence[Label],
    factories: Functions,
    vocabulary: int | None = None,
    task: str = "classification",
    encoding: Encoding | None = None,
) -> Examples:
    """The examples in a file or a folder, or the test examples of the dataset of that name, shaped for the model.

    Tables and texts are read as those of training were, by the model's `encoding` where it has one.
    """
    path, y = Path(data), None
    if data not in factories and (raw := read_raw(path, encoding, input_shape)) is not None:
        x, y = raw
    elif path.suffix.lower() in TABLES:
        x, y = read_csv(path)
    elif path.suffix.lower() == ".npz":
        arrays = read_npz(path)
        names = ("x", "y") if "x" in arrays else ("x_test", "y_test")
        if names[0] not in arrays:
            raise UsageError(
                f"{data} needs an array x (and y, the labels), or x_test; it has {', '.join(arrays)!r:.100}"
            )
        x, y = arrays[names[0]], arrays.get(names[1])
    elif path.is_file() and data not in factories:
        raise UsageError(f"{data}: examples are read from .csv and .npz files; numpy.savez('x.npz', x=x) writes one")
    else:
        dataset = load_dataset(data, Path(), factories, DataSettings(task=task))
        x, y = np.asarray(dataset.x["test"]), own_labels(dataset, "test")
        encoding = encoding if dataset.encoding is None else None  # else it was standardised as it was loaded
    targets = None if y is None else targets_for(data, y, len(x), labels, task)
    examples = shaped(data, x, input_shape, vocabulary)
    return Examples(torch.from_numpy(as_standardised(examples.numpy(), encoding)), targets)


def targets_for(data: str, y: NDArray[Any], examples: int, labels: Sequence[Label], task: str) -> Tensor:
    """The targets of so many examples, as the model's task has them; UsageError where they are other ones."""
    if task == "classification":
        return labelled(data, y, examples, labels)
    targets = TARGETS[task](f"{data}, targets", y)
    if len(targets) != examples or (task != "sequence" and targets.shape[1] != len(labels)):
        raise UsageError(f"{data}: needs targets for each of {examples} examples, got an array of shape {y.shape}")
    if task != "sequence":
        return torch.from_numpy(targets)
    counts = ~is_ignored(targets)
    classes = torch.full(targets.shape, IGNORED)
    classes[torch.from_numpy(counts)] = labelled(data, targets[counts], int(counts.sum()), labels)
    return classes


def own_labels(dataset: Dataset, split: str) -> NDArray[Any]:
    """The labels of a split as the data have them."""
    y, labels = dataset.y[split], np.array(dataset.labels)
    if not dataset.labels or not is_ignored(y).any():
        return labels[y] if dataset.labels else y
    return np.where(is_ignored(y), IGNORED, labels[y * ~is_ignored(y)])  # whole numbers, for text has no IGNORED


def shaped(data: str, x: NDArray[Any], input_shape: tuple[int, ...], vocabulary: int | None = None) -> Tensor:
    """The examples in the shape that the model takes; UsageError where they have another, but for sizes of 1.

    Examples that are flat, here or there, are taken to be in the same order. With a vocabulary they must be tokens.
    """
    require_numbers(data, x)
    is_flat = x.ndim == 2 or len(input_shape) == 1
    has_shape = is_flat or _without_ones(x.shape[1:]) == _without_ones(input_shape)
    is_fitting = x.ndim >= 2 and len(x) > 0 and has_shape and x[0].size == np.prod(input_shape)
    if not is_fitting:
        shape = ", ".join(map(str, input_shape))
        raise UsageError(f"{data}: the model takes numbers of shape (N, {shape}), got {x.dtype} of shape {x.shape}")
    if vocabulary is not None:
        return torch.from_numpy(as_tokens(data, x, vocabulary))
    return torch.from_numpy(as_float32(data, x).reshape(-1, *input_shape))


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def labelled(data: str, y: NDArray[Any], examples: int, labels: Sequence[Label]) -> Tensor:
    """The class of each label; UsageError unless there is one for each example, and all are labels of the model's."""
    own = as_labels(f"{data}, labels", y)
    if len(own) != examples:
        raise UsageError(f"{data}: needs one label for each of {examples} examples, got {len(own)}")
    class_of = {str(label): index for index, label in enumerate(labels)}
    if all(isinstance(label, bool) for label in labels):
        class_of |= {str(int(label)): index for index, label in enumerate(labels)}
    names, which = np.unique(own, return_inverse=True)
    unknown = [name for name in names.tolist() if str(name) not in class_of]
    if unknown:
        raise UsageError(f"{data}: label {unknown[0]!r:.50} is none of the model's: {shown_labels(labels)}")
    return torch.tensor([class_of[str(name)] for name in names.tolist()], dtype=torch.int64)[which]


def as_taken(model: nn.Module, x: Tensor) -> Tensor:
    """The examples on the model's device, in the type that it takes."""
    return x.to(next(model.parameters(), x).device, example_dtype(model))


@torch.no_grad()
def scores(
    model: nn.Module, x: Tensor, outputs: int, batch_size: int = PREDICT_BATCH, *, per_position: bool = False
) -> Float[Tensor, "N *L K"]:
    """The model's output for each example, or each position of each, on the CPU.

    UsageError where a batch norm is left without a variance, ModelError where the model has not so many outputs.
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
    shape = (len(x), *(out.shape[1:2] if per_position else ()), outputs)
    if out.shape != shape:
        raise ModelError(f"the model must give scores of shape {shape}, got {tuple(out.shape)}")
    return out


def measured(objective: Objective, out: Float[Tensor, "N *L K"], y: Tensor) -> dict[str, float]:
    """The metrics of a model's outputs, and its mean loss, in double precision."""
    if objective == Objective("classification"):
        loss, accuracy = loss_and_accuracy(out, y)
        return {"accuracy": accuracy, "loss": loss}
    if objective.name == "sequence" and (y == IGNORED).any():
        objective = replace(objective, ignores_positions=True)
    outputs = to_outputs(out.double().unsqueeze(0))
    targets = laid_out(y.double() if y.is_floating_point() else y)
    totals = add_up(objective, [(outputs, targets)], outputs[:, :, :0], targets)
    found = {name: value.item() for name, value in task_scores(objective, totals, targets).items()}
    return {**{name: value for name, value in found.items() if name != "loss"}, "loss": found["loss"]}


def loss_and_accuracy(out: Float[Tensor, "N K"], y: Int[Tensor, "N"]) -> tuple[float, float]:
    """The mean cross-entropy in nats, and the accuracy."""
    loss = F.cross_entropy(out.double(), y).item()
    return loss, (out.argmax(1) == y).double().mean().item()


def confusion(out: Float[Tensor, "N K"], y: Int[Tensor, "N"]) -> Int[Tensor, "K K"]:
    """The confusion matrix: how many examples of each class (row) are predicted as each class (column)."""
    classes, pairs = out.shape[1], (y * out.shape[1] + out.argmax(1))[y != IGNORED]
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)
