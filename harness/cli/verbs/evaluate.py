"""`evaluate`: a trained model with running, batch and recalibrated statistics."""

import argparse
from pathlib import Path

import numpy as np
from rich.table import Table

from harness.cli.console import Console
from harness.cli.option_values import suite_functions
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
from harness.export.variants import SIZES, Answers, example_words, variants
from harness.spec.measured import CLASSIFICATION
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
    print(f"{dataset.name}: {len(x)} test examples")
    names = list(STATISTICS) if batch_norms(model) else ["running"]
    measures = (*objective.metrics, "loss")
    table = Table("statistics", *measures, "predictions changed")
    answers: dict[str, Answers] = {}
    impossible: dict[str, str] = {}
    for row, name, size in variants(names, (options.batch_size,) if options.batch_size else SIZES):
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
        print(printable(example_words(answers, impossible, labels_of(card))))
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
