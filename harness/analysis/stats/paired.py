"""Paired differences: one number per seed, the seed being the unit of replication."""

import math
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from harness.analysis.stats.arrays import FloatArray

ALPHA = 0.05
MOST_EXACT = 20  # pairs: half a million sign patterns; above that they are drawn
DRAWS = 99_999
RESAMPLES = 9_999  # of a bootstrap


class Interval(NamedTuple):
    """An estimate and the ends of its 95 % interval; the ends are NaN where there is none."""

    estimate: float
    low: float
    high: float


def mean_interval(differences: FloatArray) -> Interval:
    """The mean with its t interval; equal values give that value three times, fewer than two give no ends."""
    n = len(differences)
    if n < 2:
        return Interval(float(differences[0]) if n else math.nan, math.nan, math.nan)
    mean = float(np.mean(differences))
    half = float(scipy.stats.t.ppf(1 - ALPHA / 2, n - 1) * scipy.stats.sem(differences))
    return Interval(mean, mean - half, mean + half)


def expanded_percentiles(n: int) -> tuple[float, float]:
    """The percentiles of bootstrap means of n values that lie as far apart as the ends of a t interval.

    Plain ones, 2.5 and 97.5, are too narrow for few seeds (Hesterberg 2015, "What teachers should know about the
    bootstrap", section 5.3). Fewer than two values have no interval of either kind.
    """
    n = max(n, 2)
    tail = float(scipy.stats.norm.cdf(-math.sqrt(n / (n - 1)) * scipy.stats.t.ppf(1 - ALPHA / 2, n - 1)))
    return 100 * tail, 100 * (1 - tail)


def sign_flip_p(differences: FloatArray, rng: np.random.Generator) -> float:
    """The two-sided p of "the differences are symmetric about 0": exact for up to 20, by random signs above."""
    n = len(differences)
    if n == 0:
        return 1.0
    if n > MOST_EXACT:
        signs = rng.choice(np.array([-1, 1], dtype=np.int8), size=(DRAWS, n)).astype(float)  # whole numbers are slow
        reached = _reaches(signs @ differences, differences)
        # The observed pattern is one of the possible: a p of 0 can't be (Phipson & Smyth 2010).
        return float((reached.sum() + 1) / (DRAWS + 1))
    sums = differences[:1]
    for difference in differences[1:]:  # the first sign stays: the other half of the patterns mirrors this one
        sums = np.concatenate([sums + difference, sums - difference])
    return float(np.mean(_reaches(sums, differences)))


def sign_flip_sides(differences: FloatArray, rng: np.random.Generator) -> tuple[float, float]:
    """Both one-sided p of the sign-flip test: that the differences are above 0, and below."""
    half, total = sign_flip_p(differences, rng) / 2, float(differences.sum())
    return (half, 1 - half) if total > 0 else (1 - half, half) if total < 0 else (1.0, 1.0)


def _reaches(sums: FloatArray, differences: FloatArray) -> NDArray[np.bool_]:
    """Which sums are as far from 0 as the observed one; ties count although their last bits differ."""
    tie = 1e-12 * np.abs(differences).sum()
    return np.asarray(np.abs(sums) >= abs(differences.sum()) - tie)


def holm(p_values: FloatArray) -> FloatArray:
    """The p values adjusted for their number (Holm 1979); NaN, a test that could not be made, counts as 1.

    By hand, because that of statsmodels collects garbage in every call, which takes 0.2 s in a process of this size.
    """
    tested = ~np.isnan(p_values)
    known = np.where(tested, p_values, 1.0)
    order = np.argsort(known, kind="stable")
    scaled = known[order] * np.arange(len(known), 0, -1)
    adjusted = np.empty_like(known)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return np.where(tested, adjusted, np.nan)
