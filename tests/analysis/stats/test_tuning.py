"""Choosing a learning rate: never on what it is judged by, and worth what brute force says."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis import stats

SEEDS, LRS = 5, 4


def grids(seed=3, seeds=SEEDS, lrs=LRS):
    return np.random.default_rng(seed).normal(0.8, 0.05, (2, seeds, lrs))


def test_the_expected_best_of_k_is_the_mean_over_all_ways_to_draw_k():
    validation, test = grids()
    expected_best = stats.best_of_k(validation, test)
    for seed, k in itertools.product(range(SEEDS), range(1, LRS + 1)):
        others = np.delete(validation, seed, axis=0).mean(axis=0)
        tried = [max(draw, key=lambda lr: others[lr]) for draw in itertools.combinations(range(LRS), k)]
        assert expected_best[seed, k - 1] == pytest.approx(np.mean([test[seed, lr] for lr in tried]))


def test_the_best_of_the_whole_grid_is_the_cross_fitted_score():
    validation, test = grids()
    validation[:, 2] = validation[:, 1]  # a tie
    np.testing.assert_allclose(stats.best_of_k(validation, test)[:, -1], stats.cross_fitted(validation, test))


def test_a_band_holds_its_curve_and_ends_where_the_cross_fitted_interval_does():
    validation, test = grids(seeds=11)
    mean, low, high = stats.best_of_k_band(validation, test, np.random.default_rng(0))
    assert (low <= mean).all()
    assert (mean <= high).all()
    other = stats.tuned_difference((validation, test), (validation * 0, test * 0), np.random.default_rng(0))
    assert (mean[-1], low[-1], high[-1]) == pytest.approx(other, abs=0.004)


def test_a_missing_validation_score_never_chooses_its_lr():
    validation, test = grids()
    validation[1, 0], validation[:, 0][2:] = np.nan, 9.0
    assert stats.chosen_lrs(validation)[1] == 0
    assert 0 not in np.delete(stats.chosen_lrs(validation), 1)
    assert np.isfinite(stats.tuned_difference((validation, test), grids(4), np.random.default_rng(0))).all()


@given(st.permutations(range(SEEDS)), st.floats(-2, 2), st.floats(0.1, 5))
def test_a_choice_knows_no_order_of_seeds_and_scores_shift_and_grow_with_the_data(order, shift, scale):
    validation, test = grids()
    mixed = stats.best_of_k(validation[order] * scale + shift, test[order] * scale + shift)
    np.testing.assert_allclose(mixed, stats.best_of_k(validation, test)[order] * scale + shift, atol=1e-9)


def test_choosing_on_the_scored_data_would_flatter_and_the_cross_fitted_choice_does_not():
    rng = np.random.default_rng(5)
    honest, flattered = [], []
    for _ in range(400):
        validation, test = rng.normal(0.8, 0.02, (2, SEEDS, 10))  # all learning rates are equally good
        honest.append(stats.cross_fitted(validation, test).mean())
        flattered.append(test.mean(axis=0).max())
    assert np.mean(honest) == pytest.approx(0.8, abs=0.002)
    assert np.mean(flattered) > 0.81


def test_no_copy_of_a_seed_in_a_resample_chooses_its_own_lr():
    rng, nothing, middles = np.random.default_rng(5), np.zeros((SEEDS, 10)), []
    for _ in range(60):
        scores = rng.normal(0.8, 0.02, (SEEDS, 10))  # validation is the test: whoever chooses its own is flattered
        interval = stats.tuned_difference((scores, scores), (nothing, nothing), rng)
        middles.append((interval.low + interval.high) / 2)
    assert np.mean(middles) == pytest.approx(0.8, abs=0.004)


@pytest.mark.parametrize("n", [6, 10])
def test_the_interval_of_a_tuned_difference_covers_the_truth_at_the_nominal_rate(n):
    rng = np.random.default_rng(n)
    truth = np.array([0.80, 0.84, 0.87, 0.60])  # lr 2 is best, clearly
    inside = []
    for _ in range(100):
        luck = rng.normal(0, 0.01, (n, 1))
        sides = [truth + luck + rng.normal(0, 0.01, (2, n, LRS)) + better for better in (0.02, 0.0)]
        interval = stats.tuned_difference(tuple(sides[0]), tuple(sides[1]), rng)
        inside.append(interval.low <= 0.02 <= interval.high)
    assert 0.88 <= np.mean(inside) <= 0.99
