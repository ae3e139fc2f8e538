"""What tuning is worth, in a figure."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from harness.analysis.stats import cross_fitted
from harness.reporting.figures.tuning import best_of_k_curve
from tests.support.simulated import simulate

LRS, SEEDS = [0.01, 0.03, 0.1, 0.3, 1.0], list(range(7))
AXES = {"norm": ["batch", "none"], "lr": LRS, "seed": SEEDS}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("tuned"), AXES)


def tables(results, arm):
    """Validation and test accuracy of an arm, failures at chance."""
    mine = results.trials[results.trials["norm"] == arm]
    failed = mine["status"].isin(["nonfinite", "no_better_than_init"])
    return [
        mine.assign(score=mine[metric].mask(failed, 0.1)).pivot(index="seed", columns="lr", values="score").to_numpy()
        for metric in ("val_accuracy", "test_accuracy")
    ]


def curve(drawn, arm):
    (line,) = (line for line in drawn.figure.axes[0].get_lines() if line.get_label() == arm)
    return line.get_ydata()


@pytest.mark.parametrize("arm", ["batch", "none"])
def test_the_curve_goes_from_a_random_learning_rate_to_the_one_chosen_without_the_scored_seed(results, arm):
    (drawn,) = best_of_k_curve(results)
    validation, test = tables(results, arm)
    mean = curve(drawn, arm)
    assert len(mean) == len(LRS)
    assert mean[0] == pytest.approx(test.mean())
    assert mean[-1] == pytest.approx(cross_fitted(validation, test).mean())


def test_beside_the_curve_every_seed_stands_at_what_was_chosen_for_it(results):
    (drawn,) = best_of_k_curve(results)
    x, y = drawn.figure.axes[1].collections[0].get_offsets().data.T
    for position, arm in enumerate(("batch", "none")):
        np.testing.assert_allclose(y[x == position], cross_fitted(*tables(results, arm)))


def test_seeds_without_a_result_everywhere_are_left_out_and_the_caption_says_so(results):
    trials = results.trials
    gone = (trials["seed"] == 6) & (trials["norm"] == "none") & (trials["lr"] == 0.1)
    holed = replace(results, trials=trials.assign(status=trials["status"].mask(gone, "interrupted")))
    (drawn,) = best_of_k_curve(holed)
    assert "n = 7 seeds of batch and 6 seeds of none" in drawn.caption


def test_one_seed_can_choose_for_nobody(results):
    assert list(best_of_k_curve(replace(results, trials=results.trials[results.trials["seed"] == 0]))) == []


def test_the_names_of_many_arms_do_not_lie_on_each_other(tmp_path):
    arms = ["batch", "none", "layer", "group", "instance"]
    (drawn,) = best_of_k_curve(simulate(tmp_path, {**AXES, "norm": arms}))
    drawn.lay_out()
    names = [label.get_window_extent() for label in drawn.figure.axes[1].get_xticklabels()]
    assert all(right.x0 > left.x1 for left, right in pairwise(names))
