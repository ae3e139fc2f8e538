"""Grids on a logarithmic scale, and how far they may grow."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Suite, log_grid
from harness.errors import SuiteError

FIXED = {"dataset": "circles", "model": "mlp-4", "norm": ["batch", "none"], "batch_size": 7, "steps": 2}


@given(st.floats(1e-8, 1e3), st.floats(0.05, 6), st.integers(1, 40))
def test_log_grid_has_both_ends_and_enough_values_to_a_decade(low, decades, per_decade):
    high = low * 10**decades
    grid = log_grid(low, high, per_decade=per_decade)
    assert (grid[0], grid[-1]) == (float(f"{low:.3g}"), float(f"{high:.3g}"))
    assert len(grid) - 1 >= decades * per_decade - 1e-6
    assert len(grid) - 1 <= decades * per_decade + 1
    steps = np.diff(np.log10(grid))
    assert np.allclose(steps, decades / (len(grid) - 1), atol=5e-3)
    assert grid == [float(f"{value:.3g}") for value in grid]


def test_log_grid_gives_the_numbers_that_one_would_type():
    assert log_grid(1e-3, 1.0, per_decade=1) == [0.001, 0.01, 0.1, 1.0]
    assert log_grid(3e-3, 3.0, per_decade=2) == [0.003, 0.00949, 0.03, 0.0949, 0.3, 0.949, 3.0]


@pytest.mark.parametrize(
    ("low", "high", "per_decade"),
    [(0, 1, 3), (-1, 1, 3), (1, 1, 3), (1, 0.1, 3), (1, math.inf, 3), (math.nan, 1, 3), (0.1, 1, 0)],
)
def test_log_grid_refuses_what_makes_no_grid(low, high, per_decade):
    with pytest.raises(SuiteError, match="log_grid needs"):
        log_grid(low, high, per_decade=per_decade)


@given(st.floats(1e-6, 1e2), st.floats(0.5, 3), st.integers(1, 5), st.integers(0, 4), st.integers(0, 4))
def test_a_grid_grows_by_equal_steps_up_to_its_bounds(low, decades, per_decade, down, up):
    high = low * 10**decades
    grid = log_grid(low, high, per_decade=per_decade, grow=(low / 10**down, high * 10**up))
    assert grid == log_grid(low, high, per_decade=per_decade), "it starts with the values that there would be without"
    values = grid.growth.with_added((*grid.growth.below, *grid.growth.above))
    step = decades / (len(grid) - 1)
    assert np.allclose(np.diff(np.log10(values)), step, atol=5e-3)
    for decades_beyond, side in ((down, grid.growth.below), (up, grid.growth.above)):
        assert len(side) * step <= decades_beyond + 1e-6 < (len(side) + 1) * step + 1e-5
    assert grid.growth.bounds == (values[0], values[-1])


def test_a_grid_grows_by_three_decades_at_most_unless_told_otherwise():
    growth = log_grid(0.01, 1.0, per_decade=2, grow=True).growth
    assert growth.below == (0.00316, 0.001, 0.000316, 0.0001, 3.16e-05, 1e-05)
    assert growth.above == (3.16, 10.0, 31.6, 100.0, 316.0, 1000.0)
    assert growth.beyond((*growth.values, 3.16), above=True) == [10.0]
    assert growth.beyond((*growth.values, *growth.below), above=False) == []


def test_what_is_added_continues_the_grid_without_a_gap():
    growth = log_grid(0.01, 1.0, per_decade=1, grow=True).growth
    assert growth.with_added([10.0, 1000.0, 0.001, 0.5]) == (0.001, 0.01, 0.1, 1.0, 10.0)


@pytest.mark.parametrize("grow", [None, 5, (0.1,), (0.1, 1.0), (0, 10), (0.001, 0.5), (0.001, math.inf), "yes"])
def test_bounds_that_are_none_are_refused(grow):
    with pytest.raises(SuiteError, match=r"grow must be True, or the bounds \(lowest, highest\)"):
        log_grid(0.01, 1.0, per_decade=1, grow=grow)


GROWING = log_grid(0.1, 1.0, per_decade=2, grow=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "needs target_accuracy or a target"),
        ({"target_accuracy": 0.9, "init_scale": GROWING}, "for the lr of the suite itself, got it for init_scale"),
        ({"target_accuracy": 0.9, "lr": 0.1, "also": [{"lr": GROWING}]}, "got it for `also`"),
        ({"target_accuracy": 0.9, "compare": "lr"}, "can't be what is compared"),
    ],
)
def test_a_grid_that_can_not_grow_there_is_refused(changes, message):
    with pytest.raises(SuiteError, match=message):
        Suite(**{**FIXED, "lr": GROWING, **changes})


def test_trials_of_a_grown_grid_are_those_of_one_written_by_hand():
    suite = Suite(**FIXED, lr=GROWING, seed=range(3), target_accuracy=0.9, also=[{"lr": 5.0, "norm": "layer"}])
    by_hand = Suite(
        **FIXED, lr=[0.0316, 0.1, 0.316, 1.0, 3.16, 10.0], seed=range(3), also=[{"lr": 5.0, "norm": "layer"}]
    )
    grown = [trial.key for trial in suite.trials(lrs=[3.16, 0.0316, 10.0])]
    assert grown == [trial.key for trial in by_hand.trials()]
    assert {trial.key for trial in suite.trials()} < set(grown)
