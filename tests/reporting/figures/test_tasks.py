"""The drawn over several tasks."""

from dataclasses import replace

import numpy as np
import pytest

from harness.reporting.figures.tasks import task_profile
from tests.support.simulated import simulate

TASKS = ["digits", "circles", "moons", "spirals", "blobs"]
AXES = {"norm": ["batch", "none"], "dataset": TASKS, "seed": range(4)}


def results_of(folder, axes=AXES):
    """Batch reaches .2, .4, .6, .8, 1 of what is above chance on the five tasks, none half of that."""
    results = simulate(folder, axes)
    share = results.trials["dataset"].map({task: (i + 1) / 5 for i, task in enumerate(TASKS)})
    share *= results.trials["norm"].map({"batch": 1.0, "none": 0.5})
    accuracy = 0.1 + 0.9 * share
    return replace(results, trials=results.trials.assign(status="ok", test_accuracy=accuracy, val_accuracy=accuracy))


def at(drawn, arm, level):
    (line,) = (line for line in drawn.figure.axes[0].get_lines() if line.get_label() == arm)
    return line.get_ydata()[np.searchsorted(line.get_xdata(), level)]


@pytest.mark.parametrize(("arm", "level", "share"), [("batch", 0.5, 0.6), ("none", 0.55, 0.0), ("none", 0.25, 0.6)])
def test_the_curve_is_the_share_of_tasks_above_a_level_of_normalised_accuracy(tmp_path, arm, level, share):
    (drawn,) = task_profile(results_of(tmp_path))
    assert at(drawn, arm, level) == pytest.approx(share)


def test_tasks_count_and_not_seeds(tmp_path):
    (drawn,) = task_profile(results_of(tmp_path))
    assert "share of 5 tasks" in drawn.caption
    assert "batch 0.60 and 1.0 and none 0.30 and 2.0" in drawn.caption  # the middle three tasks; ranks


def test_a_task_that_one_arm_lacks_is_left_out_of_all(tmp_path):
    results = results_of(tmp_path)
    gone = (results.trials["dataset"] == "moons") & (results.trials["norm"] == "none")
    trials = results.trials.assign(status=results.trials["status"].mask(gone, "interrupted"))
    (drawn,) = task_profile(replace(results, trials=trials))
    assert "share of 4 tasks" in drawn.caption


def test_over_learning_rates_the_validated_one_is_shown_and_nothing_is_pooled(tmp_path):
    results = results_of(tmp_path, {**AXES, "lr": [0.01, 0.1]})
    low = results.trials["lr"] == 0.01
    worse = {name: results.trials[name].mask(low, 0.1) for name in ("test_accuracy", "val_accuracy")}
    (drawn,) = task_profile(replace(results, trials=results.trials.assign(**worse)))
    assert at(drawn, "batch", 0.5) == pytest.approx(0.6)
    assert "with the learning rate chosen on the other seeds" in drawn.caption


def test_two_tasks_make_no_profile(tmp_path):
    assert list(task_profile(results_of(tmp_path, {**AXES, "dataset": TASKS[:2]}))) == []
