"""Effects other than a difference: fractions, ratios, trends, scores over tasks."""

import numpy as np
import scipy
from numpy.typing import NDArray

from harness.reporting.stats.paired import Interval, mean_interval

Array = NDArray[np.float64]

RESAMPLES = 9_999


def recovered_fraction(local: Array, sync: Array, joint: Array, rng: np.random.Generator) -> Interval:
    """R = (sync - local) / (joint - local) with its bootstrap interval over seeds.

    All NaN where the interval of the denominator covers 0: there is no loss to recover.
    """
    lost = mean_interval(joint - local)
    if not (lost.low > 0 or lost.high < 0):
        return Interval(np.nan, np.nan, np.nan)
    seeds = rng.integers(0, len(local), (RESAMPLES, len(local)))
    draws = (sync - local)[seeds].mean(axis=1) / (joint - local)[seeds].mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(float(np.mean(sync - local)) / lost.estimate, float(low), float(high))


def step_ratio(ours: Array, theirs: Array) -> Interval:
    """The geometric mean of ours / theirs over interleaved blocks, with its t interval on the log scale."""
    estimate, low, high = np.exp(mean_interval(np.log(ours) - np.log(theirs)))
    return Interval(float(estimate), float(low), float(high))


def slopes(x: Array, y: Array) -> Array:
    """Per seed the least-squares slope of y[seed, x] against x."""
    centred = x - x.mean()
    return np.asarray(y @ centred / (centred @ centred))


def page_trend(y: Array) -> float:
    """The one-sided p of Page's (1963) test that y[seed, x] rises along x."""
    return float(scipy.stats.page_trend_test(y).pvalue)


def iqm(scores: Array) -> float:
    """The mean of the middle half (Agarwal et al. 2021)."""
    return float(scipy.stats.trim_mean(scores, 0.25))


def normalised(accuracy: Array, chance: Array) -> Array:
    """Accuracy on a scale from 0, chance, to 1, so that tasks with different classes can be compared."""
    return (accuracy - chance) / (1 - chance)


def mean_ranks(scores: Array) -> Array:
    """Per variant its mean rank over seeds, from scores[seed, variant]; 1 is best, ties share."""
    known = np.where(np.isnan(scores), -np.inf, scores)
    return np.asarray(scipy.stats.rankdata(-known, axis=1).mean(axis=0))
