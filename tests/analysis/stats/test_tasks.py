"""Scores over tasks: the tasks are the unit, and no seed of one speaks for another."""

import numpy as np
import pytest

from harness.analysis import stats

SCORES = np.array([[0.2, 0.4, 0.3], [0.9, 0.9, 0.9], [0.5, 0.7, np.nan], [0.1, 0.1, 0.1], [0.6, 0.5, 0.7]])


def rng():
    return np.random.default_rng(0)


def test_tasks_are_the_unit_however_many_seeds_one_has():
    interval = stats.iqm_interval(SCORES, rng())
    assert interval.estimate == pytest.approx(np.mean([0.3, 0.6, 0.6]))  # the middle of five task means
    assert interval.low <= interval.estimate <= interval.high
    doubled = np.hstack([SCORES, SCORES])
    assert stats.iqm_interval(doubled, rng()).estimate == pytest.approx(interval.estimate)


def test_a_profile_is_the_share_of_tasks_above_each_threshold():
    share, low, high = stats.performance_profile(SCORES, np.array([0.0, 0.35, 0.65, 0.95]), rng())
    np.testing.assert_allclose(share, [1, 3 / 5, 1 / 5, 0])
    assert (low <= share).all()
    assert (share <= high).all()


def test_chance_is_0_and_a_perfect_score_1_for_any_number_of_classes():
    classes = np.array([2, 10])
    np.testing.assert_allclose(stats.normalised(1 / classes, 1 / classes), 0, atol=1e-15)
    np.testing.assert_allclose(stats.normalised(np.ones(2), 1 / classes), 1)
