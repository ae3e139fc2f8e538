"""The figure of effects, for those who can't see it."""

from dataclasses import replace

import pytest

from harness import Claim
from harness.reporting.figures.effect import effect_at_each_point
from harness.reporting.svg import mark_titles
from tests.support.simulated import simulate

ACCURACY = {"layer": 0.5, "batch": 0.9, "none": 0.7}


def test_the_figure_in_words_names_the_arms_that_differ_also_where_there_is_one_grid_point(tmp_path):
    results = simulate(tmp_path, {"norm": list(ACCURACY), "seed": range(10)})
    luck = results.trials["seed"] / 1000
    trials = results.trials.assign(status="ok", test_accuracy=results.trials["norm"].map(ACCURACY) + luck)
    (drawn,) = effect_at_each_point(replace(results, trials=trials))
    assert drawn.alt.endswith("differences from none. After correction, batch is better and layer is worse.")


def test_a_failed_trial_stands_below_the_chance_of_its_own_data_set(tmp_path):
    classes = {"digits": 10, "circles": 2}
    results = simulate(tmp_path, {"norm": ["batch", "none"], "dataset": list(classes), "seed": range(7)})
    trials = results.trials.assign(status="no_better_than_init", classes=results.trials["dataset"].map(classes))
    (drawn,) = effect_at_each_point(replace(results, trials=trials))
    top, _ = drawn.figure.axes
    ticks = [line.get_ydata().max() for line in top.get_lines() if line.get_marker() == "_"]
    assert sorted(ticks) == pytest.approx([0.07, 0.07, 0.47, 0.47])
    assert {line.get_ydata()[0] for line in top.get_lines() if line.get_linestyle() == ":"} == {0.1, 0.5}


def test_points_of_many_axes_are_named_by_what_sets_them_apart(tmp_path):
    axes = {"norm": ["batch", "none"], "init": ["he", "xavier"], "optimizer": ["sgd", "adamw"], "momentum": [0.0, 0.9]}
    results = simulate(tmp_path, {**axes, "schedule": ["constant", "cosine"], "seed": range(7)})
    away = (results.trials[["init", "optimizer", "momentum", "schedule"]] != ["he", "sgd", 0.0, "constant"]).sum(axis=1)
    (drawn,) = effect_at_each_point(replace(results, trials=results.trials[away <= 1]))
    labels = [label.get_text() for label in drawn.figure.axes[1].get_xticklabels()]
    apart = ["usual point", "init xavier", "optimizer adamw", "momentum 0.9", "schedule cosine"]
    assert sorted(labels) == sorted(apart)
    assert "usual point: init he, optimizer sgd, momentum 0, schedule constant." in drawn.caption


@pytest.mark.parametrize(
    ("axes", "joined"),
    [
        ({"lr": [0.1, 0.3, 1.0]}, True),
        ({"init_scale": [0.5, 1.0, 2.0]}, True),
        ({"init": ["he", "xavier"]}, False),
        ({"norm_affine": [True, False]}, False),
        ({"init_scale": [0.5, 2.0], "momentum": [0.0, 0.9]}, False),
    ],
)
def test_a_line_joins_grid_points_only_where_they_lie_along_one_number(tmp_path, axes, joined):
    (drawn,) = effect_at_each_point(simulate(tmp_path, {"norm": ["batch", "none"], **axes, "seed": range(7)}))
    means = [line for line in drawn.figure.axes[0].get_lines() if line.get_label() in ("batch", "none")]
    assert len(means) == 2
    assert all((line.get_linestyle() != "None") == joined for line in means)
    assert ("the line is their mean" in drawn.caption) == joined
    assert ("the diamond is their mean" in drawn.caption) != joined


def test_where_all_trials_of_both_arms_failed_stands_a_cross_and_no_difference(tmp_path):
    results = simulate(tmp_path, {"norm": ["batch", "none"], "lr": [0.1, 1.0, 10.0], "seed": range(7)})
    failed = (results.trials["lr"] == 10.0) | ((results.trials["lr"] == 1.0) & (results.trials["norm"] == "none"))
    trials = results.trials.assign(status=failed.map({True: "no_better_than_init", False: "ok"}))
    (drawn,) = effect_at_each_point(replace(results, trials=trials))
    _, bottom = drawn.figure.axes
    marks = {line.get_marker(): line for line in bottom.get_lines() if line.get_marker() in ("x", "o")}
    assert len([line for line in bottom.get_lines() if line.get_marker() == "o"]) == 2
    assert list(marks["x"].get_xdata()) == [pytest.approx(10.0, rel=0.5)]
    assert "Cross: in both arms all failed." in drawn.caption
    assert marks["x"].get_gid() == mark_titles(
        ["batch, lr 10: ahead in 0 of 7 seeds, 0.0 points higher on average; all failed to train"]
    )


def test_seeds_stand_beside_the_line_of_their_means_however_far_apart_grid_points_are(tmp_path):
    axes = {"norm": ["batch", "none"], "steps": [10, 20, 40], "seed": range(7)}
    (drawn,) = effect_at_each_point(simulate(tmp_path, axes))
    places = {x for line in drawn.figure.axes[0].get_lines() if line.get_marker() == "o" for x in line.get_xdata()}
    assert {round(place) for place in places} == {0, 1, 2}
    assert max(abs(place - round(place)) for place in places) <= 0.05 * 2 + 1e-9


@pytest.mark.parametrize(
    ("claims", "half", "words"),
    [
        ([Claim.equivalent("batch", to="none", within=0.02)], 2.0, "The grey band is the margin of 2.0 points."),
        ([Claim.better("batch", than="none", by=0.02)], 0.5, "The grey band: less than 0.5 points apart."),
        (
            [Claim.equivalent("batch", to="none", within=margin) for margin in (0.02, 0.01)],
            0.5,
            "The grey band: less than 0.5 points apart.",
        ),
        ([Claim.equivalent("batch", to="none", within=0.3, metric="test_loss")], 0.5, "less than 0.5 points apart."),
    ],
)
def test_the_grey_band_is_the_margin_that_is_claimed(tmp_path, claims, half, words):
    # Half a point was drawn, and called the margin, where two points were claimed
    (drawn,) = effect_at_each_point(simulate(tmp_path, {"norm": ["batch", "none"], "seed": range(7)}, claims=claims))
    _, bottom = drawn.figure.axes
    (band,) = [patch for patch in bottom.patches if patch.get_alpha() == 0.6]
    assert band.get_height() == pytest.approx(2 * half)
    assert words in drawn.caption


def test_of_many_grid_points_each_figure_is_drawn_along_the_longest_axis_of_numbers(tmp_path):
    # Twelve points in a row had names of three settings each, one across the other
    axes = {"norm": ["batch", "none"], "steps": [20, 100, 1000], "momentum": [0.0, 0.9], "init": ["he", "xavier"]}
    drawn = [*effect_at_each_point(simulate(tmp_path, {**axes, "seed": range(7)}))]
    assert [figure.name for figure in drawn] == ["effect_1", "effect_2", "effect_3", "effect_4"]
    assert drawn[1].title == "Does it help at this grid point? (momentum 0, init xavier)"
    for figure in drawn:
        _, bottom = figure.figure.axes
        assert [label.get_text() for label in bottom.get_xticklabels()] == ["20", "100", "1000"]
        assert bottom.get_xlabel() == "steps"
        assert len(figure.comparisons) == 3


def test_a_few_grid_points_stand_in_one_row(tmp_path):
    axes = {"norm": ["batch", "none"], "steps": [20, 100, 1000], "momentum": [0.0, 0.9], "seed": range(7)}
    (drawn,) = effect_at_each_point(simulate(tmp_path, axes))
    assert len(drawn.comparisons) == 6
