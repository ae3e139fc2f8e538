"""`predict`: what a trained model says of examples."""

import argparse

import numpy as np
import pandas as pd
from rich.table import Table
from torch import Tensor

from harness.cli.console import Console
from harness.cli.export import functions_of
from harness.execution.preflight import resolve_device
from harness.export.evaluate import confusion, loss_and_accuracy, read_examples, scores
from harness.export.load import load_with_facts
from harness.io import write_atomically
from harness.storage.csv_files import csv_bytes

MOST_CLASSES = 20  # that a table on a screen has room for
MOST_CONFUSED = 10


def predict(options: argparse.Namespace) -> int:
    """Write a row for each example; say how right they are, where labels tell; the exit code."""
    own = functions_of(options)
    model, facts = load_with_facts(options.model, resolve_device(options.device), options.allow_pickle, own)
    params = facts["init_params"]
    examples = read_examples(options.data, tuple(params["inputs"]), params["classes"], own)
    out = scores(model, examples.x, params["classes"])
    likely, named = out.double().softmax(1).max(1)
    table = pd.DataFrame({"example": np.arange(len(out)), "prediction": named.numpy(), "probability": likely.numpy()})
    if examples.y is not None:
        table["label"] = examples.y.numpy()
    write_atomically(options.output, csv_bytes(table))
    print(f"{options.output}: {len(out)} predictions")
    if examples.y is not None:
        loss, accuracy = loss_and_accuracy(out, examples.y)
        print(f"accuracy {accuracy:.4f}, loss {loss:.4f}")
        _print_confusion(confusion(out, examples.y))
    return 0


def _print_confusion(counts: Tensor) -> None:
    """The matrix, or where it is large what is mistaken most."""
    if len(counts) <= MOST_CLASSES:
        table = Table("label", *(str(name) for name in range(len(counts))), title="predicted")
        for label, row in enumerate(counts.tolist()):
            table.add_row(str(label), *(str(count) if count else "" for count in row))
    else:
        table = Table("label", "predicted", "examples", title="mistaken most often")
        wrong = counts.clone().fill_diagonal_(0).flatten()
        for count, place in zip(*(found.tolist() for found in wrong.topk(MOST_CONFUSED)), strict=True):
            if count:
                table.add_row(*map(str, (*divmod(place, len(counts)), count)))
    Console().print(table)
