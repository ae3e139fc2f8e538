"""`predict`: a trained model applied to examples."""

import argparse
from collections.abc import Sequence

from rich.table import Table
from torch import Tensor

from harness.cli.console import Console
from harness.cli.option_values import suite_functions
from harness.data.labels import Label
from harness.execution.preflight import resolve_device
from harness.export.evaluate import confusion, measured, read_examples, scores
from harness.export.load import load_with_facts
from harness.export.model_card import known_objective, labels_of, trial_of
from harness.export.predictions import predictions
from harness.io import write_atomically
from harness.spec.metric import WITH_CLASSES
from harness.storage.csv_files import csv_bytes

MOST_CLASSES = 20  # that a table on a screen has room for
MOST_CONFUSED = 10


def predict(options: argparse.Namespace) -> int:
    """Write a row for each example; print metrics, and confusion, where there are targets; the exit code."""
    functions = suite_functions(options)
    model, card = load_with_facts(options.model, resolve_device(options.device), options.allow_pickle, functions)
    params = card["init_params"]
    labels, task = labels_of(card), trial_of(card).task
    vocabulary, encoding = params.get("vocabulary"), card.get("encoding")
    examples = read_examples(options.data, tuple(params["inputs"]), labels, functions, vocabulary, task, encoding)
    out = scores(model, examples.x, params["classes"], per_position=task == "sequence")
    write_atomically(options.output, csv_bytes(predictions(task, out, examples.y, labels)))
    print(f"{options.output}: {len(out)} predictions")
    if examples.y is not None:
        values = measured(known_objective(trial_of(card), functions), out, examples.y)
        print(", ".join(f"{name} {value:.4f}" for name, value in values.items()))
        if task in WITH_CLASSES:
            _print_confusion(confusion(out.flatten(0, -2), examples.y.flatten()), labels)
    return 0


def _print_confusion(counts: Tensor, labels: Sequence[Label]) -> None:
    """The matrix, or where it is large what is mistaken most."""
    if len(counts) <= MOST_CLASSES:
        table = Table("label", *map(str, labels), title="predicted")
        for label, row in zip(labels, counts.tolist(), strict=True):
            table.add_row(str(label), *(str(count) if count else "" for count in row))
    else:
        table = Table("label", "predicted", "examples", title="mistaken most often")
        mistakes = counts.clone().fill_diagonal_(0).flatten()
        top = mistakes.topk(MOST_CONFUSED)
        for count, index in zip(top.values.tolist(), top.indices.tolist(), strict=True):
            if count:
                label, mistaken = divmod(index, len(counts))
                table.add_row(str(labels[label]), str(labels[mistaken]), str(count))
    Console().print(table)
