"""How results depend on the batch size, in figures."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from harness.reporting.figures.batches import over_batch_size
from harness.reporting.figures.effect import effect_at_each_point
from harness.reporting.figures.maps import lr_and_batch_size
from tests.support.simulated import simulate

SIZES, LRS, SEEDS = [2, 8, 32, 128], [0.01, 0.1, 1.0], list(range(7))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    axes = {"norm": ["batch", "none"], "batch_size": SIZES, "lr": LRS, "seed": SEEDS}
    return simulate(tmp_path_factory.mktemp("sizes"), axes)


def sloping(folder, steepness):
    """The gap of batch to none grows by `steepness` points a doubling, more in later seeds; lr is no axis."""
    results = simulate(folder, {"norm": ["batch", "none"], "batch_size": SIZES, "seed": SEEDS}, lr=0.1)
    trials = results.trials
    gain = (trials["norm"] == "batch") * (steepness + (trials["seed"] - 3)) * np.log2(trials["batch_size"]) / 100
    return replace(results, trials=trials.assign(test_accuracy=0.5 + gain, status="ok"))


def test_the_slope_is_points_for_each_doubling_and_there_is_a_line_for_each_seed(tmp_path):
    (drawn,) = over_batch_size(sloping(tmp_path, 2))
    assert "batch 2.0 points for each doubling" in drawn.caption
    # The seeds' slopes are -1, 0, ..., 5: mean 2, standard error 0.816497, t(6) = 2.446912.
    assert "interval 0.002 to 4.0" in drawn.caption
    fits = [line for line in drawn.figure.axes[1].get_lines() if line.get_alpha() == 0.45]
    steep = sorted((line.get_ydata()[-1] - line.get_ydata()[0]) / np.log2(SIZES[-1] / SIZES[0]) for line in fits)
    np.testing.assert_allclose(steep, np.arange(-1, 6), atol=1e-9)


def test_between_two_sizes_a_line_joins_the_means_of_each_arm_and_none_is_drawn_for_a_seed(tmp_path):
    axes = {"norm": ["batch", "none", "layer"], "batch_size": [8, 128], "seed": SEEDS}
    (drawn,) = over_batch_size(simulate(tmp_path, axes, lr=0.1))
    lines = [line for line in drawn.figure.axes[1].get_lines() if line.get_linestyle() == "-" and line.get_lw() == 1.0]
    assert len(lines) == 2  # of both arms that are compared with the third
    assert len({tuple(line.get_xdata()) for line in lines}) == 2, "side by side: neither hides the other"
    assert not [line for line in drawn.figure.axes[1].get_lines() if line.get_alpha() == 0.45]
    assert "thin lines" not in drawn.caption


def test_the_slopes_of_the_caption_are_comparisons_too(tmp_path):
    (drawn,) = over_batch_size(sloping(tmp_path, 2))
    (slope,) = drawn.comparisons
    assert (100 * slope.estimate, 100 * slope.low) == pytest.approx((2, 0.0021), abs=1e-4)
    assert (slope.n, slope.shown_in, slope.metric) == (7, "batch_size", "test_accuracy per doubling of batch_size")
    assert "batch 2.0 points" in drawn.caption


def test_the_rule_for_the_learning_rate_is_stated(tmp_path):
    results = sloping(tmp_path, 1)
    (fixed,) = over_batch_size(results)
    assert "The learning rate is 0.1." in fixed.caption
    (following,) = over_batch_size(replace(results, manifest=replace(results.manifest, following={"lr": "batch_size"})))
    assert "The learning rate follows the batch size" in following.caption


def test_with_few_seeds_slopes_are_descriptive_and_have_no_interval(tmp_path):
    results = sloping(tmp_path, 1)
    (drawn,) = over_batch_size(replace(results, trials=results.trials[results.trials["seed"] < 3]))
    assert "(descriptive)" in drawn.caption
    assert "interval 0" not in drawn.caption


def test_learning_rates_are_not_pooled(results):
    figures = list(over_batch_size(results))
    assert [drawn.title.rpartition("(")[2] for drawn in figures] == ["lr 0.1)", "lr 1)"]
    for drawn in figures:
        dots = drawn.figure.axes[0].collections[0].get_offsets()
        assert len(dots) == 2 * len(SIZES) * len(SEEDS)  # of both arms


def meshes(drawn):
    """The heat maps of a figure, without its colour bars."""
    panels = [axes for axes in drawn.figure.axes if axes.get_label() != "<colorbar>" and axes.get_visible()]
    return [axes.collections[0] for axes in panels]


def test_a_map_shows_means_by_arm_and_paired_differences_below(results):
    (drawn,) = lr_and_batch_size(results)
    trials = results.trials.assign(score=results.trials["test_accuracy"].where(results.trials["status"] == "ok", 0.1))
    trials["score"] = trials["score"].mask(trials["status"] == "below_target", trials["test_accuracy"])
    mean = 100 * trials.groupby(["norm", "batch_size", "lr"])["score"].mean()
    shown = [mesh.get_array() for mesh in meshes(drawn)]
    expected = {arm: mean[arm].unstack("lr").to_numpy() for arm in ("batch", "none")}
    for level, wanted in zip(shown, (*expected.values(), expected["batch"] - expected["none"]), strict=True):
        np.testing.assert_allclose(level, wanted)


def test_no_difference_is_the_middle_of_the_colours(results):
    (drawn,) = lr_and_batch_size(results)
    below = meshes(drawn)[-1]
    assert below.norm(0) == pytest.approx(0.5)


def test_a_cell_without_a_result_is_crossed_out(results):
    trials = results.trials
    gone = (trials["batch_size"] == 8) & (trials["lr"] == 0.1)
    holed = trials.assign(status=trials["status"].mask(gone, "interrupted"))
    (drawn,) = lr_and_batch_size(replace(results, trials=holed))
    crosses = [len(mesh.axes.get_lines()) for mesh in meshes(drawn)]
    assert crosses == [1, 1, 1]


def test_where_batch_sizes_are_no_axis_there_is_nothing_to_draw(tmp_path):
    results = simulate(tmp_path, {"norm": ["batch", "none"], "lr": LRS, "seed": SEEDS})
    assert [*over_batch_size(results), *lr_and_batch_size(results)] == []


def test_one_picture_has_the_scores_over_batch_sizes_and_none_is_of_a_single_size(tmp_path):
    results = simulate(
        tmp_path, {"norm": ["batch", "none"], "init": ["he", "xavier"], "batch_size": SIZES, "seed": SEEDS}
    )
    trials = results.trials
    cut = replace(results, trials=trials[(trials["init"] == "he") | (trials["batch_size"] == SIZES[0])])
    assert [figure.name for figure in over_batch_size(cut)] == ["batch_size_1"]
    assert [*effect_at_each_point(cut)] == []


@pytest.mark.parametrize("lrs", [LRS, [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]])
def test_the_numbers_of_a_map_do_not_lie_on_each_other(tmp_path, lrs):
    axes = {"norm": ["batch", "none", "layer", "group"], "batch_size": [8, 32], "lr": lrs, "seed": [0, 1]}
    results = simulate(tmp_path, axes)
    perfect = results.trials.assign(status="ok", test_accuracy=1.0)
    (drawn,) = lr_and_batch_size(replace(results, trials=perfect))
    drawn.lay_out()
    for panel in drawn.figure.axes:
        for left, right in pairwise(panel.texts):
            if left.get_position()[1] == right.get_position()[1]:
                assert left.get_window_extent().x1 < right.get_window_extent().x0
