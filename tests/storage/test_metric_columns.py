"""trials.csv of tasks other than classification: columns of their metrics, and statuses by their direction."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.spec.manifest import Manifest
from harness.spec.measured import Aim, measured_by
from harness.spec.metric import MetricSpec
from harness.storage.records import ResultsDir, failure, find_fault, write_manifest, write_record
from harness.storage.tables import OUTCOMES, read_results, write_tables
from tests.support.manifests import manifest_of
from tests.support.records import a_record
from tests.support.strategies import a_trial

COST = MetricSpec(words="energy used", unit="kWh", higher_is_better=False)
SPLITS = ("train", "val", "test")


def of_task(task, curves, facts=None, **changes):
    """The record of a trial of a task that has learned, with these curves besides its loss."""
    trial = a_trial(task=task, **changes)
    own = {"train.loss": {"step": [0, 5], "value": [2.5, 0.125]}}
    known = {"fail_step": None, "steps_per_epoch": 2, "guess_loss": 1.1}
    return trial, a_record(trial, curves={**own, **curves}, facts={**known, **(facts or {})})


def tables_of(folder, pairs, **changes):
    """The manifest of these trials, and the table that their records come to, as it is read again."""
    place = ResultsDir(folder / "suite")
    trials = [trial for trial, _ in pairs]
    manifest: Manifest = manifest_of(trials, **changes)
    write_manifest(place, manifest)
    for _, record in pairs:
        write_record(place, record)
    aim = Aim(own=manifest.metrics, target_accuracy=manifest.target_accuracy, target=manifest.target)
    assert write_tables(place, trials, measured_by(trials, aim)) == []
    return read_results(place.root).trials


ERRORS = {"val.rmse": {"step": [0, 3, 5], "value": [80.0, 50.5, 50.5]}, "test.rmse": {"step": [5], "value": [51.0]}}


def test_the_columns_are_the_metrics_of_the_task_and_what_guessing_comes_to(tmp_path):
    trial = of_task("regression", ERRORS, {"guess_rmse": 77.0, "guess_r2": None}, metrics="energy used")
    table = tables_of(tmp_path, [trial], metrics={"energy used": COST})
    names = ["loss", "rmse", "mae", "r2", "energy used"]
    values = [f"{split}_{name}" for name in names for split in SPLITS] + [f"guess_{name}" for name in names[1:]]
    start, end = list(OUTCOMES)[:7], list(OUTCOMES)[-2:]
    assert list(table.columns[-len([*start, *values, *end]) :]) == [*start, *values, *end]
    row = table.iloc[0]
    assert (row["val_rmse"], row["test_rmse"], row["guess_rmse"], row["best_step"]) == (50.5, 51.0, 77.0, 3)
    assert row[["train_rmse", "guess_r2", "test_energy used"]].isna().all()


@pytest.mark.parametrize(
    ("target", "status", "steps"), [(51.0, "ok", 3), (50.9, "below_target", 3), (50, "below_target", None)]
)
def test_less_of_an_error_than_the_target_reaches_it(tmp_path, target, status, steps):
    row = tables_of(tmp_path, [of_task("regression", ERRORS)], target={"rmse": target}).iloc[0]
    assert row["status"] == status
    assert (None if pd.isna(row["steps_to_target"]) else row["steps_to_target"]) == steps


def test_a_trial_of_another_task_has_empty_columns_and_no_target_to_miss(tmp_path):
    labels = {"val.f1": {"step": [0, 5], "value": [0.25, 0.75]}, "test.f1": {"step": [5], "value": [0.5]}}
    pairs = [of_task("regression", ERRORS, seed=1), of_task("multilabel", labels, {"guess_f1": 0.125}, seed=2)]
    table = tables_of(tmp_path, pairs, target={"rmse": 50})
    assert table["status"].tolist() == ["below_target", "ok"]
    assert table["best_step"].tolist() == [3, 5]
    assert table["test_f1"].isna().tolist() == [True, False]
    assert table["test_rmse"].isna().tolist() == [False, True]


@given(st.floats(1e-9, 1e9))
def test_a_regression_has_learnt_where_its_loss_is_under_the_guess_however_small_its_targets_are(scale):
    def ended_as(share):
        curves = {"train.loss": {"step": [0, 5], "value": [7 * scale, share * scale]}}
        return failure(of_task("regression", curves, {"guess_loss": scale})[1])

    assert ended_as(0.999) is None
    assert ended_as(1.0) == ended_as(1 - 2.0**-23) == "no_better_than_init"


@pytest.mark.parametrize("value", ["low", True, [0.5], math.inf])
def test_a_guess_that_is_no_number_is_a_fault(value):
    fault = find_fault(of_task("regression", ERRORS, {"guess_rmse": value})[1])
    assert (fault is None) == (value == math.inf)  # which JSON can't hold anyway
    assert fault is None or "'guess_rmse'" in fault
