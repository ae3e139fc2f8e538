"""`evaluate`: a trained model with running, batch and recalibrated statistics."""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from harness.cli.console import Console
from harness.cli.suite_functions import suite_functions
from harness.data.datasets import load_dataset
from harness.data.downloads import OPENML
from harness.data.labels import Label
from harness.data.settings import dataset_key
from harness.data.sources.bundled import DATASETS
from harness.data.sources.texts import TEXTS
from harness.ensemble.bn_statistics import MAX_BATCHES, STATISTICS, batch_norms, batches
from harness.errors import UsageError
from harness.execution.preflight import resolve_device
from harness.export.evaluate import as_taken, measured, own_labels, scores, shaped, targets_for
from harness.export.load import load_with_facts
from harness.export.model_card import known_objective, labels_of, trial_of
from harness.spec.measured import CLASSIFICATION
from harness.spec.suite import Functions
from harness.text import printable

SIZES = (1, 16)  # of batches whose statistics an example is evaluated with: alone, and in company
Answers = tuple[Tensor, Tensor]  # the prediction for each example, and the scores that it rests on


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
    print(f"{dataset.name}: {len(x)} test examples")
    names = list(STATISTICS) if batch_norms(model) else ["running"]
    measures = (*objective.metrics, "loss")
    table = Table("statistics", *measures, "predictions changed")
    answers: dict[str, Answers] = {}
    impossible: dict[str, str] = {}
    for row, name, size in _variants(names, (options.batch_size,) if options.batch_size else SIZES):
        try:
            variant = STATISTICS[name](model, batches(as_taken(model, train), trial.batch_size))
            out = scores(variant, x, classes, size, per_position=trial.task == "sequence")
        except UsageError as error:
            table.add_row(row, *[""] * (len(measures) + 1))
            impossible[row] = str(error)
            continue
        found, predicted = measured(objective, out, y), objective.task.predict(out.flatten(0, -2))
        answers[row] = predicted, out
        n_changed = str((predicted != answers["running"][0]).sum().item()) if "running" in answers else ""
        table.add_row(row, *(f"{found[measure]:.4f}" for measure in measures), n_changed)
    Console().print(table)
    for row, why in impossible.items():
        print(printable(f"{row}: {why}"))
    if trial.task == CLASSIFICATION and len(answers) > 1:
        print(printable(_example(answers, impossible, labels_of(card))))
    if len(names) == 1:
        without = "no layer of this model normalises over a batch"
        print(f"{without}: its predictions do not depend on the other examples in the batch")
    else:
        print(f"recalibrated on {len(train)} training examples in batches of {trial.batch_size}")
    return 0


def _variants(names: Sequence[str], sizes: Sequence[int]) -> Iterator[tuple[str, str, int]]:
    """What is evaluated: the name of its row, the statistics, and the examples in a batch, on which some depend."""
    for name in names:
        for size in sizes if name == "batch" else sizes[-1:]:
            yield f"batch of {size}" if name == "batch" else name, name, size


def _example(answers: Mapping[str, Answers], impossible: Iterable[str], labels: Sequence[Label]) -> str:
    """What one example is taken for with each of the statistics: the first of which that depends, else the first."""
    predictions = torch.stack([predicted for predicted, _ in answers.values()])
    differs = (predictions != predictions[0]).any(0).int()
    number = int(differs.argmax())
    parts = [
        f"{labels[int(predicted[number])]} ({out[number].softmax(0).max():.0%}) {_by(row)}"
        for row, (predicted, out) in answers.items()
    ]
    parts += [f"no answer {_by(row)}" for row in impossible]
    return f"test example {number + 1} is taken for {', '.join(parts)}"


def _by(row: str) -> str:
    """A row in words: an example that is alone has itself for its statistics."""
    return {"batch of 1": "alone"}.get(row, f"in a {row}" if row.startswith("batch") else f"by {row} statistics")


def _training_dataset(name: str, functions: Functions) -> str:
    """The dataset that the model was trained on, where its name is known; a path in the file is never opened."""
    if name not in {**DATASETS, **TEXTS} and name not in functions and not name.startswith(OPENML):
        raise UsageError(
            f"the model's dataset {name!r:.50} is a file or a function of its suite: name it with --dataset or --suite"
        )
    return name
