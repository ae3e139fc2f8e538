"""Learning curves: the runs of one seed are told from the others, where somebody could have trained these alone."""

import numpy as np

from harness.reporting.figures.curves import learning_curves
from tests.support.simulated import simulate

TWO = {"norm": ["batch", "none"], "lr": [0.03, 0.1], "seed": range(2, 5)}


def edged(drawn):
    """The lines that are told from the others, of all panels."""
    return [(axes, line) for axes in drawn.figure.axes for line in axes.lines if line.get_path_effects()]


def test_the_runs_of_the_first_seed_are_told_from_the_others_in_the_large_panels(tmp_path):
    results = simulate(tmp_path, TWO)
    (drawn,) = learning_curves(results)
    loss, accuracy = drawn.figure.axes[:2]
    assert [axes for axes, _ in edged(drawn)] == [loss, loss, accuracy, accuracy]
    assert "Edged in white: seed 2, all that one run of each arm would show." in drawn.caption
    first = results.trials.query("seed == 2 and lr == 0.1").set_index("norm")["key"]
    of_test = results.curves.query("split == 'test' and metric == 'accuracy'")
    for (_, line), norm in zip(edged(drawn)[2:], ["batch", "none"], strict=True):
        of_run = of_test[of_test["key"] == first[norm]]
        np.testing.assert_array_equal(np.transpose(line.get_xydata()), [of_run["step"], of_run["value"]])


def test_no_run_is_told_from_the_others_where_it_is_the_only_one_or_one_of_many_arms(tmp_path):
    for axes in ({**TWO, "seed": [2]}, {**TWO, "norm": ["batch", "none", "layer"]}):
        (drawn,) = learning_curves(simulate(tmp_path, axes))
        assert not edged(drawn)
        assert "Edged" not in drawn.caption


def test_between_two_evaluations_there_is_no_curve(tmp_path):
    assert list(learning_curves(simulate(tmp_path, TWO, evaluations=2))) == []
    assert len(list(learning_curves(simulate(tmp_path, TWO, evaluations=3)))) == 1
