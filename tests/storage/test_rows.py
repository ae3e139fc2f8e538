"""The row of a trial: its status, and its numbers out of the facts and the curves of its record."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.storage.records import NO_RESULT, Record, ResultsDir, status_of, write_manifest
from harness.storage.tables import OUTCOMES
from tests.support.manifests import a_manifest
from tests.support.records import a_place, a_record, merged, of_classification, with_curve
from tests.support.strategies import a_trial


@pytest.fixture
def place(tmp_path):
    return a_place(tmp_path)


def row_of(place, record, target=None):
    """The row of trials.csv that a record comes to."""
    return merged(place, [record], target=target).trials.iloc[0]


@pytest.mark.parametrize(
    ("fail_step", "losses", "accuracy", "target", "answer"),
    [
        (3, [2.5, 2.5], 0.1, 0.9, "nonfinite"),
        (3, [2.5, 0.5], 0.95, 0.9, "nonfinite"),
        (None, [2.5, 2.5], 0.1, 0.9, "no_better_than_init"),
        (None, [2.5, 2.5], 0.95, 0.9, "no_better_than_init"),
        (None, [2.5, 0.5], 0.89, 0.9, "below_target"),
        (None, [2.5, 0.5], None, 0.9, "below_target"),
        (None, [2.5, 0.5], 0.9, 0.9, "ok"),
        (None, [2.5, 0.5], 0.1, None, "ok"),
        (None, [2.5, 0.5], None, None, "ok"),
    ],
)
def test_the_status_of_a_trained_trial_is_the_first_that_is_true_of_it(
    place, fail_step, losses, accuracy, target, answer
):
    curves = {"train.loss": {"step": [0, 5], "value": losses}, "test.accuracy": {"step": [5], "value": [accuracy]}}
    record = a_record(facts={"fail_step": fail_step}, curves=curves)
    assert status_of(record, {"test_accuracy": accuracy}, of_classification(target).target) == answer
    assert row_of(place, record, target)["status"] == answer


@pytest.mark.parametrize("outcome", NO_RESULT)
def test_a_trial_without_a_result_has_its_outcome_as_status_and_no_numbers(place, outcome):
    row = row_of(place, Record(key=a_trial().key, trial=a_trial().content, outcome=outcome, error="why"), target=0.9)
    assert row["status"] == outcome
    assert row[[name for name in OUTCOMES if name != "status"]].isna().all()


def test_a_trial_without_a_record_is_interrupted(place):
    row = merged(place, [], [a_trial()]).trials.iloc[0]
    assert row["status"] == "interrupted"
    assert row[[name for name in OUTCOMES if name != "status"]].isna().all()


accuracies = st.lists(st.none() | st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=6)


@settings(max_examples=25)
@given(accuracies, st.none() | st.sampled_from([0.1, 0.5, 1.0]))
def test_best_step_is_the_first_of_the_best_and_steps_to_target_the_first_that_reaches_it(
    tmp_path_factory, seen, target
):
    place = ResultsDir(tmp_path_factory.mktemp("results"))
    write_manifest(place, a_manifest())
    steps = [7 * i for i in range(len(seen))]
    row = row_of(place, with_curve("val.accuracy", steps, seen), target)
    known = np.array([math.nan if value is None else value for value in seen])
    best = None if np.isnan(known).all() else 7 * int(np.nanargmax(known))
    reached = np.flatnonzero(known >= target) if target is not None else []
    assert (None if pd.isna(row["best_step"]) else row["best_step"]) == best
    assert (None if pd.isna(row["steps_to_target"]) else row["steps_to_target"]) == (
        7 * reached[0] if len(reached) else None
    )


def test_outcomes_are_the_ends_of_the_curves_and_the_facts(place):
    row = row_of(place, with_curve("val.loss", [0, 3, 5], [3.5, 0.25, 1.5]))
    found = {name: None if pd.isna(row[name]) else row[name] for name in OUTCOMES}
    assert found == {
        **dict.fromkeys(OUTCOMES),
        "status": "ok",
        "initial_loss": 2.5,
        "train_loss": 0.125,
        "val_loss": 1.5,
        "val_accuracy": 0.5,
        "test_accuracy": 0.625,
        "best_step": 3,
        "classes": 3,
        "parameters": 99,
    }


def test_facts_are_in_their_own_columns_and_in_no_other(tmp_path):
    trial = a_trial(norm="batch")
    own = {"fail_step": None, "classes": 3, "norm_batch": 7, "steps": 5}
    others = {"lr": 9.0, "key": "0" * 16, "suite": "x", "status": "nonfinite", "test_accuracy": 1.0, "best_step": 1}
    rows = []
    for name, facts in (("a", own), ("b", own | others)):
        place = a_place(tmp_path / name)
        rows.append(merged(place, [a_record(trial, facts=facts)], [trial]).trials.iloc[0])
    assert rows[0].equals(rows[1])
    assert (rows[1]["suite"], rows[1]["key"], rows[1]["norm_batch"]) == ("suite", trial.key, 7)
