"""What probes measured, in figures."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harness.reporting.figures.probes import BY_LAYER, activation_percentiles, landscape_bands, probes_by_layer
from tests.support.simulated import simulate

AXES = {"norm": ["batch", "none"], "lr": [0.03, 0.1], "seed": [0, 1, 2]}
LAYERS, STEPS = 5, [0, 40, 80, 120]
WHOLE = ("landscape_loss_min", "landscape_loss_max", "landscape_gradient_change_min", "landscape_gradient_change_max")


def law(name, layer, step, seed):
    """What a made-up probe measures: every argument shows in it."""
    return (1 + list(BY_LAYER).index(name) if name in BY_LAYER else 30) + layer / 10 + step / 1000 + seed / 100


def probed(folder, axes=AXES, names=(*BY_LAYER, "activation_p15", "activation_p50", "activation_p85")):
    results = simulate(folder, axes)
    rows = [
        (trial.key, step, step / 20, "probe", f"{name}/{layer}", law(name, layer, step, trial.seed))
        for trial in results.trials.itertuples()
        for name in names
        for layer in range(1, LAYERS + 1)
        for step in STEPS
    ]
    rows += [
        (trial.key, step, step / 20, "probe", name, 1.0 + number + step)
        for trial in results.trials.itertuples()
        for number, name in enumerate(WHOLE)
        for step in STEPS
    ]
    curves = pd.DataFrame(rows, columns=results.curves.columns).astype(results.curves.dtypes)
    return replace(results, curves=pd.concat([results.curves, curves], ignore_index=True))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return probed(tmp_path_factory.mktemp("probes"))


def drawn_lines(axes, label):
    return [line for line in axes.get_lines() if line.get_label() == label]


def test_what_was_not_probed_is_not_drawn(tmp_path):
    results = simulate(tmp_path, AXES)
    assert [*activation_percentiles(results), *probes_by_layer(results), *landscape_bands(results)] == []


def test_every_quantity_of_layers_has_its_figure_at_three_steps(results):
    drawn_figures = {drawn.name: drawn for drawn in probes_by_layer(results)}
    assert set(drawn_figures) == set(BY_LAYER)
    titles = [axes.get_title() for axes in drawn_figures["gradient_norm"].figure.axes]
    assert titles == ["step 0", "step 80", "step 120"]


def test_a_profile_shows_the_mean_over_seeds_of_each_layer(results):
    (drawn,) = (drawn for drawn in probes_by_layer(results) if drawn.name == "dead")
    (line,) = drawn_lines(drawn.figure.axes[1], "none")
    expected = [np.mean([law("dead", layer, 80, seed) for seed in AXES["seed"]]) for layer in range(1, LAYERS + 1)]
    np.testing.assert_allclose(line.get_ydata(), expected)
    np.testing.assert_array_equal(line.get_xdata(), range(1, LAYERS + 1))


def test_trials_of_one_learning_rate_are_shown_which_is_named(results):
    for drawn in [*activation_percentiles(results), *landscape_bands(results)]:
        assert "(lr 0.1)" in drawn.title
        assert "n = 3 seeds" in drawn.caption


def test_activations_are_shown_for_the_first_a_middle_and_the_last_layer(results):
    (drawn,) = activation_percentiles(results)
    assert [axes.get_ylabel() for axes in drawn.figure.axes[::2]] == ["layer 1", "layer 3", "layer 5"]
    assert [axes.get_title() for axes in drawn.figure.axes[:2]] == ["batch", "none"]


def test_the_band_of_the_landscape_reaches_from_the_smallest_to_the_largest(results):
    (drawn,) = landscape_bands(results)
    for axes, (low, high) in zip(drawn.figure.axes, ((1, 2), (3, 4)), strict=True):
        (top,) = drawn_lines(axes, "batch")
        bottom = axes.get_lines()[0]
        np.testing.assert_allclose(bottom.get_ydata(), np.add(STEPS, low))
        np.testing.assert_allclose(top.get_ydata(), np.add(STEPS, high))


def test_values_that_are_missing_or_zero_are_drawn_too(tmp_path):
    results = probed(tmp_path)
    values = results.curves["value"].mask(results.curves["step"] == 40, np.nan).mask(results.curves["step"] == 80, 0.0)
    odd = replace(results, curves=results.curves.assign(value=values))
    assert len([*activation_percentiles(odd), *probes_by_layer(odd), *landscape_bands(odd)]) == len(BY_LAYER) + 2
