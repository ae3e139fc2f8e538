"""Scores over several tasks: the tasks are the unit, seeds are averaged within each.

Scores are [task, seed], normalised and higher the better; tasks may have missing seeds, as NaN.
"""

import numpy as np
import scipy
from numpy.typing import NDArray

from harness.analysis.stats.paired import RESAMPLES, Interval

Array = NDArray[np.float64]


def normalised(accuracy: Array, chance: Array) -> Array:
    """Accuracy on a scale from 0, chance, to 1, so that tasks with different classes can be compared."""
    return (accuracy - chance) / (1 - chance)


def iqm(scores: Array) -> float:
    """The mean of the middle half (Agarwal et al. 2021)."""
    return float(scipy.stats.trim_mean(scores, 0.25))


def iqm_interval(scores: Array, rng: np.random.Generator) -> Interval:
    """The IQM of the tasks' means, with its bootstrap interval; seeds are drawn again within each task."""
    draws = scipy.stats.trim_mean(_task_means(scores, RESAMPLES, rng), 0.25, axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(iqm(np.nanmean(scores, axis=1)), float(low), float(high))


def performance_profile(scores: Array, thresholds: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Per threshold the share of tasks whose mean exceeds it, and the ends of its 95 % bootstrap band over seeds."""
    draws = (_task_means(scores, RESAMPLES, rng)[:, :, None] > thresholds).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    return (np.nanmean(scores, axis=1)[:, None] > thresholds).mean(axis=0), low, high


def _task_means(scores: Array, resamples: int, rng: np.random.Generator) -> Array:
    """[resample, task]: the mean of seeds drawn with replacement within each task."""
    means = []
    for row in scores:
        known = row[~np.isnan(row)]
        means.append(known[rng.integers(0, len(known), (resamples, len(known)))].mean(axis=1))
    return np.stack(means, axis=1)


def mean_ranks(scores: Array) -> Array:
    """Per variant its mean rank from scores[task or seed, variant]; 1 is best, ties share, a missing score is last."""
    known = np.where(np.isnan(scores), -np.inf, scores)
    return np.asarray(scipy.stats.rankdata(-known, axis=1).mean(axis=0))
