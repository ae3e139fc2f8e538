"""Records as training may leave them, and the tables that they come to."""

from dataclasses import replace

from harness.spec.measured import Aim, measured
from harness.spec.trial import Trial
from harness.storage.records import TRAINED, Record, ResultsDir, write_manifest, write_record
from harness.storage.tables import read_results, write_tables
from tests.support.manifests import a_manifest
from tests.support.strategies import a_trial

GRID = [a_trial(seed=seed, norm=norm) for seed in range(3) for norm in ("batch", "none")]


def a_record(trial=None, **changes):
    """The record of a trial that learned: its curves have 3, 2 and 1 points, its telemetry is short."""
    trial = trial or a_trial()
    content = {
        "key": trial.key,
        "trial": trial.content,
        "outcome": TRAINED,
        "facts": {"fail_step": None, "steps_per_epoch": 2, "classes": 3, "guess_loss": 1.1, "parameters": 99},
        "curves": {
            "val.accuracy": {"step": [0, 3, 5], "value": [0.25, 0.75, 0.5]},
            "train.loss": {"step": [0, 5], "value": [2.5, 0.125]},
            "test.accuracy": {"step": [5], "value": [0.625]},
        },
        "telemetry": {"host": "here", "seconds_train": 1.5, "torch": "2.10", "commit": "1234567", "attempts": 1},
    }
    return Record(**{**content, **changes})


def a_drawn_record(trial, **changes):
    """The same with what figures of training show: losses of batches too."""
    record = a_record(trial)
    losses = {"batch.loss": {"step": [1, 3, 5], "value": [2.25, 0.75, 0.25]}}
    return replace(record, curves={**record.curves, **losses}, **changes)


def with_curve(name, steps, values):
    record = a_record()
    return replace(record, curves={**record.curves, name: {"step": steps, "value": values}})


def a_place(folder):
    """A folder for the results of a suite, which has its manifest alone."""
    place = ResultsDir(folder / "suite")
    write_manifest(place, a_manifest())
    return place


def of_classification(target=None):
    """What trials of classification are measured by, where this accuracy is the target."""
    return measured(["classification"], [], Aim(target_accuracy=target))


def merged(place, records, todo=None, target=None):
    """The results that records come to."""
    for record in records:
        write_record(place, record)
    todo = todo if todo is not None else [Trial(**record.trial) for record in records]
    assert write_tables(place, todo, of_classification(target)) == []
    return read_results(place.root)
