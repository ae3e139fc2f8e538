"""Whether a trial's task, loss and metrics fit its data and its model, tried on a few examples before any training."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data.datasets import Dataset
from harness.data.targets import ignores_positions
from harness.errors import NO_ERRORS, HarnessError, SuiteError, error_line
from harness.rng import generator, preserved_generators
from harness.spec.metric import WITH_CLASSES
from harness.spec.suite import Functions
from harness.spec.trial import Trial
from harness.tasks.objective import objective_of
from harness.tasks.task import laid_out, targets_of

WANTED = {  # task -> what a model has to return
    "classification": "logits of shape (examples, classes)",
    "regression": "numbers of shape (examples, targets)",
    "multilabel": "logits of shape (examples, labels)",
    "sequence": "logits of shape (examples, positions, classes)",
}
TRIED = 64  # examples that a loss and metrics are tried on


def positions_and_outputs(dataset: Dataset) -> int | tuple[int, int]:
    """The shape of what a model gives for one example."""
    return (dataset.y["train"].shape[1], dataset.outputs) if dataset.task == "sequence" else dataset.outputs


def check_outputs(trial: Trial, dataset: Dataset, out: Tensor) -> None:
    """SuiteError where a model of this package gives no output for each position though the task has labels there."""
    positions = dataset.y["train"].shape[1] if dataset.task == "sequence" else 1
    if out.shape[1:] != (dataset.outputs, 2 * positions):
        raise SuiteError(
            f"model {trial.model!r} gives one output for an example, and task {trial.task!r} needs one for each of its "
            f"{positions} positions; use a model of sequences"
        )


def check_objective(trial: Trial, dataset: Dataset, functions: Functions) -> None:
    """SuiteError where a loss or metric of the suite's own can't be computed of such targets and random outputs."""
    if dataset.task != trial.task:
        raise SuiteError(f"dataset {trial.dataset!r} is of task {dataset.task!r}, got {trial.task!r}")
    objective = objective_of(trial, functions, ignores_positions=ignores_positions(dataset.y))
    if objective.own_loss is None and not objective.own_metrics:
        return
    y = laid_out(torch.from_numpy(_some(dataset)))
    positions = y.shape[1] if trial.task == "sequence" else 1
    shape = (1, dataset.outputs, y.shape[-1] * positions)
    out = torch.randn(shape, generator=generator(0, "objective"))
    what = f"loss {trial.loss!r}"
    with preserved_generators():
        try:
            objective.loss_and_gradient(out, y)
            for name in objective.own_metrics:
                what = f"metric {name!r}"
                objective.own_metric(name, out[0].T, targets_of(y, 0))
        except (HarnessError, *NO_ERRORS):
            raise
        except BaseException as error:  # a function of the suite's own may raise anything
            raise SuiteError(f"{what} can't be computed: {error_line(error)}") from error


def _some(dataset: Dataset) -> NDArray[Any]:
    """The targets of some examples from all over the split; with classes, of each class."""
    y = dataset.y["train"]
    rows = np.linspace(0, len(y) - 1, min(len(y), TRIED)).astype(int)
    if dataset.task in WITH_CLASSES and y.ndim == 1:
        rows = np.concatenate([rows, np.unique(y, return_index=True)[1]])
    chosen: NDArray[Any] = y[rows]
    return chosen
