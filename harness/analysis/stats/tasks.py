"""Scores over several tasks: the tasks are the unit, seeds are averaged within each.

Scores are [task, seed], normalised and higher the better; tasks may have missing seeds, as NaN.
"""

import numpy as np
import scipy

from harness.analysis.stats.arrays import FloatArray
from harness.analysis.stats.paired import RESAMPLES, Interval


def normalised(scores: FloatArray, guess: FloatArray, best: float = 1.0) -> FloatArray:
    """Scores on a scale from 0, guessing, to 1, the best there is, so that different tasks can be compared."""
    return (scores - guess) / (best - guess)


def iqm(scores: FloatArray) -> float:
    """The mean of the middle half (Agarwal et al. 2021)."""
    return float(scipy.stats.trim_mean(scores, 0.25))


def iqm_interval(scores: FloatArray, rng: np.random.Generator) -> Interval:
    """The IQM of the tasks' means, with its bootstrap interval; seeds are drawn again within each task."""
    draws = scipy.stats.trim_mean(_task_means(scores, RESAMPLES, rng), 0.25, axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(iqm(np.nanmean(scores, axis=1)), float(low), float(high))


def performance_profile(
    scores: FloatArray, thresholds: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Per threshold the share of tasks whose mean exceeds it, and the ends of its 95 % bootstrap band over seeds."""
    draws = (_task_means(scores, RESAMPLES, rng)[:, :, None] > thresholds).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    return (np.nanmean(scores, axis=1)[:, None] > thresholds).mean(axis=0), low, high


def _task_means(scores: FloatArray, resamples: int, rng: np.random.Generator) -> FloatArray:
    """[resample, task]: the mean of seeds drawn with replacement within each task."""
    means = []
    for row in scores:
        known = row[~np.isnan(row)]
        means.append(known[rng.integers(0, len(known), (resamples, len(known)))].mean(axis=1))
    return np.stack(means, axis=1)


def mean_ranks(scores: FloatArray) -> FloatArray:
    """Per variant its mean rank from scores[task or seed, variant]; 1 is best, ties share, a missing score is last."""
    known = np.where(np.isnan(scores), -np.inf, scores)
    return np.asarray(scipy.stats.rankdata(-known, axis=1).mean(axis=0))
