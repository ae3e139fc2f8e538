"""`evaluate`: a trained model with running, batch and recalibrated statistics."""

import argparse
from pathlib import Path

import numpy as np
from rich.table import Table
from torch import Tensor

from harness.cli.console import Console
from harness.cli.suite_functions import suite_functions
from harness.data.datasets import load_dataset
from harness.data.downloads import OPENML
from harness.data.settings import dataset_key
from harness.data.sources.bundled import DATASETS
from harness.data.sources.texts import TEXTS
from harness.ensemble.bn_statistics import MAX_BATCHES, STATISTICS, batch_norms, batches
from harness.errors import UsageError
from harness.execution.preflight import resolve_device
from harness.export.evaluate import as_taken, measured, own_labels, scores, shaped, targets_for
from harness.export.load import load_with_facts
from harness.export.model_card import known_objective, labels_of, trial_of
from harness.spec.suite import Functions
from harness.text import printable


def evaluate(options: argparse.Namespace) -> int:
    """Print metrics and loss on the test examples for each choice of statistics; the exit code."""
    functions = suite_functions(options)
    device = resolve_device(options.device)
    model, card = load_with_facts(options.model, device, options.allow_pickle, functions)
    trial, inputs, classes = trial_of(card), tuple(card["init_params"]["inputs"]), card["init_params"]["classes"]
    dataset_name = options.dataset or _training_dataset(trial.dataset, functions)
    dataset = load_dataset(dataset_name, Path(), functions, dataset_key(trial)[1])
    vocabulary = card["init_params"].get("vocabulary")
    # Of examples on disk no more than what statistics are gathered from
    most = len(dataset.x["train"]) if isinstance(dataset.x["train"], np.ndarray) else MAX_BATCHES * trial.batch_size
    x, train = (
        shaped(dataset.name, np.asarray(examples), inputs, vocabulary)
        for examples in (dataset.x["test"], dataset.x["train"][:most])
    )
    y = targets_for(dataset.name, own_labels(dataset, "test"), len(x), labels_of(card), trial.task)
    objective = known_objective(trial, functions)
    print(f"{dataset.name}: {len(x)} test examples in batches of {options.batch_size}")
    names = list(STATISTICS) if batch_norms(model) else ["running"]
    measures = (*objective.metrics, "loss")
    table = Table("statistics", *measures, "predictions changed")
    predictions: Tensor | None = None  # with running statistics, which come first
    impossible: list[str] = []
    for name in names:
        try:
            variant = STATISTICS[name](model, batches(as_taken(model, train), trial.batch_size))
            out = scores(variant, x, classes, options.batch_size, per_position=trial.task == "sequence")
        except UsageError as error:
            table.add_row(name, *[""] * (len(measures) + 1))
            impossible.append(f"{name}: {error}")
            continue
        found, predicted = measured(objective, out, y), objective.task.predict(out.flatten(0, -2))
        predictions = predicted if name == "running" else predictions
        n_changed = "" if predictions is None else str((predicted != predictions).sum().item())
        table.add_row(name, *(f"{found[measure]:.4f}" for measure in measures), n_changed)
    Console().print(table)
    for line in impossible:
        print(printable(line))
    if len(names) == 1:
        without = "no layer of this model normalises over a batch"
        print(f"{without}: its predictions do not depend on the other examples in the batch")
    else:
        print(f"recalibrated on {len(train)} training examples in batches of {trial.batch_size}")
    return 0


def _training_dataset(name: str, functions: Functions) -> str:
    """The dataset that the model was trained on, where its name is known; a path in the file is never opened."""
    if name not in {**DATASETS, **TEXTS} and name not in functions and not name.startswith(OPENML):
        raise UsageError(
            f"the model's dataset {name!r:.50} is a file or a function of its suite: name it with --dataset or --suite"
        )
    return name
