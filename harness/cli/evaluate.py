"""`evaluate`: a trained model with running, batch and recalibrated statistics."""

import argparse
from pathlib import Path

from rich.table import Table
from torch import Tensor

from harness.cli.console import Console
from harness.cli.export import functions_of
from harness.data.datasets import DATASETS, load_dataset
from harness.data.downloads import OPENML
from harness.ensemble.bn_statistics import STATISTICS, batch_norms, batches
from harness.errors import UsageError
from harness.execution.preflight import resolve_device
from harness.export.evaluate import as_taken, labelled, loss_and_accuracy, scores, shaped
from harness.export.load import load_with_facts
from harness.export.model_card import trial_of
from harness.spec.suite import Functions


def evaluate(options: argparse.Namespace) -> int:
    """Print accuracy and loss on the test examples for each choice of statistics; the exit code."""
    own = functions_of(options)
    device = resolve_device(options.device)
    model, facts = load_with_facts(options.model, device, options.allow_pickle, own)
    trial, inputs, classes = trial_of(facts), tuple(facts["init_params"]["inputs"]), facts["init_params"]["classes"]
    dataset = load_dataset(options.dataset or _own_dataset(trial.dataset, own), Path(), own)
    x, train = (shaped(dataset.name, dataset.x[split], inputs) for split in ("test", "train"))
    y = labelled(dataset.name, dataset.y["test"], len(x), classes)
    print(f"{dataset.name}: {len(x)} test examples in batches of {options.batch_size}")
    names = list(STATISTICS) if batch_norms(model) else ["running"]
    table = Table("statistics", "accuracy", "loss", "predictions changed")
    running: Tensor | None = None
    impossible: list[str] = []
    for name in names:
        try:
            chosen = STATISTICS[name](model, batches(as_taken(model, train), trial.batch_size))
            out = scores(chosen, x, classes, options.batch_size)
        except UsageError as error:
            table.add_row(name, "", "", "")
            impossible.append(f"{name}: {error}")
            continue
        loss, accuracy = loss_and_accuracy(out, y)
        running = out.argmax(1) if name == "running" else running
        unlike = "" if running is None else str((out.argmax(1) != running).sum().item())
        table.add_row(name, f"{accuracy:.4f}", f"{loss:.4f}", unlike)
    Console().print(table)
    for line in impossible:
        print(line)
    if len(names) == 1:
        print("no layer of this model normalises over a batch: it says the same of an example in any company")
    else:
        print(f"recalibrated on {len(train)} training examples in batches of {trial.batch_size}")
    return 0


def _own_dataset(name: str, own: Functions) -> str:
    """The dataset that the model was trained on, where that is known by its name: a file's word is no path."""
    if name not in DATASETS and name not in own and not name.startswith(OPENML):
        raise UsageError(
            f"the model's dataset {name!r:.50} is a file or a function of its suite: name it with --dataset or --suite"
        )
    return name
