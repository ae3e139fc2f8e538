"""`predict`: a trained model applied to examples."""

import argparse
from collections.abc import Sequence

import numpy as np
import pandas as pd
from rich.table import Table
from torch import Tensor

from harness.cli.console import Console
from harness.cli.suite_functions import suite_functions
from harness.data.labels import Label
from harness.execution.preflight import resolve_device
from harness.export.evaluate import confusion, loss_and_accuracy, read_examples, scores
from harness.export.load import load_with_facts
from harness.export.model_card import labels_of
from harness.io import write_atomically
from harness.storage.csv_files import csv_bytes

MOST_CLASSES = 20  # that a table on a screen has room for
MOST_CONFUSED = 10


def predict(options: argparse.Namespace) -> int:
    """Write a row for each example; print accuracy and confusion where there are labels; the exit code."""
    functions = suite_functions(options)
    model, card = load_with_facts(options.model, resolve_device(options.device), options.allow_pickle, functions)
    params = card["init_params"]
    labels = labels_of(card)
    examples = read_examples(options.data, tuple(params["inputs"]), labels, functions, params.get("vocabulary"))
    out = scores(model, examples.x, params["classes"])
    probability, prediction = out.double().softmax(1).max(1)
    names = np.array(labels)
    columns = {"example": np.arange(len(out)), "prediction": names[prediction], "probability": probability.numpy()}
    table = pd.DataFrame(columns)
    if examples.y is not None:
        table["label"] = names[examples.y]
    write_atomically(options.output, csv_bytes(table))
    print(f"{options.output}: {len(out)} predictions")
    if examples.y is not None:
        loss, accuracy = loss_and_accuracy(out, examples.y)
        print(f"accuracy {accuracy:.4f}, loss {loss:.4f}")
        _print_confusion(confusion(out, examples.y), labels)
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
