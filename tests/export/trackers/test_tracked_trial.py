"""What a tracker gets of a trial is what the tables say of it."""

from dataclasses import replace

import pandas as pd
import pytest

from harness.export.trackers.tracked_trial import tracked_trials
from tests.export.trackers.conftest import FOLDER


def test_the_curves_are_those_of_the_file_and_their_steps_go_up(trials, points, assert_same):
    for trial in trials:
        assert_same(
            {(n, step): v for step, values in trial.curves.items() for n, v in values.items()}, points[trial.key]
        )
        assert list(trial.curves) == sorted(trial.curves)


def test_settings_and_outcomes_are_the_columns_of_the_table_that_have_a_value(trials):
    table = pd.read_csv(FOLDER / "trials.csv", keep_default_na=False, na_values=[""]).set_index("key")
    for trial in trials:
        row = table.loc[trial.key].drop(["suite", "status"]).dropna()
        assert {**trial.settings, **trial.outcomes} == row.to_dict()
        assert not trial.settings.keys() & trial.outcomes.keys()
        assert trial.settings["lr"] == row["lr"]
        assert trial.outcomes["initial_loss"] == row["initial_loss"]
        assert (trial.status, trial.arm) == (table.loc[trial.key, "status"], f"norm={row['norm']}")


def test_its_times_are_those_of_the_telemetry(trials):
    telemetry = pd.read_csv(FOLDER / "telemetry.csv").set_index("key")
    for trial in trials:
        row = telemetry.loc[trial.key]
        assert (trial.started, trial.finished) == tuple(
            pd.Timestamp(row[c]).timestamp() for c in ("started", "finished")
        )


@pytest.mark.parametrize(("status", "has_result"), [("ok", True), ("nonfinite", True), ("crashed", False)])
def test_a_trial_that_failed_to_train_has_a_result_and_one_that_crashed_has_none(trials, status, has_result):
    assert replace(trials[0], status=status).has_result == has_result


def test_nothing_but_what_was_selected_goes_over(results, keys):
    assert [trial.key for trial in tracked_trials(results, keys[1:])] == keys[1:]


def test_a_trial_without_telemetry_and_curves_goes_over_too(results, keys):
    bare = replace(results, curves=results.curves.iloc[:0], telemetry=results.telemetry.iloc[:0])
    trial = next(tracked_trials(bare, keys))
    assert (trial.curves, trial.started, trial.finished) == ({}, 0.0, 0.0)
