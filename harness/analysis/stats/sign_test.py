"""The exact sign test: the rules that carry the words of verdicts (docs/statistics.md).

A rule sees of each seed only on which side of a margin its difference lies. So it needs no symmetry, no moments and no
score of a run that failed, which is the worse of its pair. Differences are [..., seed]; every number that comes back
has the leading axes, so that thousands of simulated suites are judged at once by what judges one. A NaN is a tie.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy
from numpy.typing import NDArray

from harness.analysis.stats.arrays import FloatArray
from harness.analysis.stats.paired import ALPHA, Interval

TIE = 1e-9  # differences that lie as near to the margin are level with it
POWER = 0.8

Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SignTest:
    """How many differences lie above the margin, below it and on it, with both one-sided p."""

    wins: Counts
    losses: Counts
    ties: Counts

    @property
    def p_more(self) -> FloatArray:
        """Small where most differences lie above the margin."""
        return upper_tail(self.wins, self.wins + self.losses)

    @property
    def p_less(self) -> FloatArray:
        """Small where most differences lie below the margin."""
        return upper_tail(self.losses, self.wins + self.losses)

    @property
    def p(self) -> FloatArray:
        """The two-sided p."""
        return two_sided(self.p_more, self.p_less)


def sign_test(differences: FloatArray, margin: float = 0.0) -> SignTest:
    """The test of differences against a margin; ties are dropped, as Dixon and Mood (1946) have it."""
    beyond = np.asarray(differences, dtype=np.float64) - margin
    tie = _tie(margin)
    wins, losses = (beyond > tie).sum(axis=-1), (beyond < -tie).sum(axis=-1)
    return SignTest(wins, losses, beyond.shape[-1] - wins - losses)


def _tie(margin: float) -> float:
    """How near to the margin is level with it; the margin of a claim may be of the size of rounding itself."""
    return min(TIE, abs(margin) / 1000) if margin else TIE


def upper_tail(count: Counts, n: Counts) -> FloatArray:
    """The probability of so many heads or more in n throws of a fair coin."""
    tail = scipy.special.bdtrc(np.asarray(count) - 1.0, np.maximum(n, 1), 0.5)
    return np.asarray(np.where(np.asarray(n) > 0, tail, 1.0), dtype=np.float64)


def two_sided(p_more: FloatArray, p_less: FloatArray) -> FloatArray:
    """Twice the smaller of both one-sided p, 1 at most."""
    return np.asarray(np.minimum(1.0, 2 * np.minimum(p_more, p_less)))


def with_failures(differences: FloatArray, ours_failed: Flags, theirs_failed: Flags) -> FloatArray:
    """The differences with a failed run as the worse of its pair, whatever it scored; NaN where both failed."""
    differences = np.where(ours_failed & ~theirs_failed, -np.inf, differences)
    differences = np.where(theirs_failed & ~ours_failed, np.inf, differences)
    return np.where(ours_failed & theirs_failed, np.nan, differences)


def failures_p(alone: Counts, n: int, tau: float) -> FloatArray:
    """The probability of so few lone failures in n seeds where a share `tau` fails alone."""
    return np.asarray(scipy.special.bdtr(alone, n, tau) if n else np.ones(np.shape(alone)), dtype=np.float64)


def lone_failures(ours_failed: Flags, theirs_failed: Flags) -> tuple[Counts, Counts]:
    """In how many pairs our run alone failed, and theirs alone."""
    return (ours_failed & ~theirs_failed).sum(axis=-1), (theirs_failed & ~ours_failed).sum(axis=-1)


def fails_more(ours_alone: Counts, theirs_alone: Counts) -> Flags:
    """Whether our runs fail alone significantly more often than theirs: a lead where they train is no lead then."""
    return np.asarray(upper_tail(ours_alone, ours_alone + theirs_alone) < ALPHA)


@dataclass(frozen=True, slots=True)
class EquivalenceTest:
    """Both halves of "equal within a margin": where both trained, and how often one failed alone."""

    below: Counts  # pairs that both trained, less than the margin above
    above: Counts  # pairs that both trained, less than the margin below
    n: int
    ours_alone: Counts
    theirs_alone: Counts
    tau: float  # the share of seeds in which an arm may fail alone
    p_refuting: FloatArray  # small where most differences lie beyond one end of the margin

    @property
    def p_accuracy(self) -> FloatArray:
        """Small where most pairs lie within the margin at either end; a pair with a failure counts against."""
        return upper_tail(np.minimum(self.below, self.above), np.asarray(self.n))

    @property
    def p_failures(self) -> FloatArray:
        """Small where neither arm fails alone in as many seeds as `tau` says."""
        return failures_p(np.maximum(self.ours_alone, self.theirs_alone), self.n, self.tau)

    @property
    def p_supporting(self) -> FloatArray:
        return np.maximum(self.p_accuracy, self.p_failures)


def equivalence_test(
    differences: FloatArray, ours_failed: Flags, theirs_failed: Flags, margin: float, tau: float
) -> EquivalenceTest:
    """The test that paired runs differ by less than a margin and that both train."""
    trained, tie = ~(ours_failed | theirs_failed), _tie(margin)
    ours_alone, theirs_alone = lone_failures(ours_failed, theirs_failed)
    ranked = with_failures(differences, ours_failed, theirs_failed)
    above, below = sign_test(ranked, margin).p_more, sign_test(ranked, -margin).p_less
    return EquivalenceTest(
        below=(trained & (differences < margin - tie)).sum(axis=-1),
        above=(trained & (differences > tie - margin)).sum(axis=-1),
        n=differences.shape[-1],
        ours_alone=ours_alone,
        theirs_alone=theirs_alone,
        tau=tau,
        p_refuting=two_sided(above, below),
    )


def over_points(p_supporting: FloatArray, p_refuting: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The p that a claim holds at every point and that it fails at one, from those of its points (last axis).

    Holding everywhere needs no correction (Berger 1982); one refutation of k is corrected by Bonferroni.
    """
    k = p_refuting.shape[-1]
    return p_supporting.max(axis=-1), np.minimum(1.0, k * p_refuting.min(axis=-1))


def median_interval(differences: FloatArray) -> Interval:
    """The median with its exact 95 % interval, of order statistics; no ends for fewer than six values."""
    if not len(differences):
        return Interval(math.nan, math.nan, math.nan)
    ordered, n = np.sort(differences), len(differences)
    rank = _rank_of_end(n)
    low, high = (float(ordered[rank - 1]), float(ordered[n - rank])) if rank else (math.nan, math.nan)
    return Interval(float(np.median(ordered)), low, high)


@cache
def _rank_of_end(n: int) -> int:
    """The rank from either end at which the interval of a median of n values ends; 0 where there is none."""
    ranks = np.arange(n // 2 + 1)
    return int(np.count_nonzero(scipy.special.bdtr(ranks, n, 0.5) <= ALPHA / 2))


def most_alone(alone: int, n: int) -> float:
    """The share of seeds in which an arm fails alone at most: the exact one-sided 95 % bound (Clopper-Pearson 1934)."""
    return 1.0 if alone >= n else float(scipy.special.bdtri(alone, n, ALPHA))


def p_floor(n: int) -> float:
    """The smallest two-sided p that n pairs without a tie can give."""
    return min(1.0, 2.0 ** (1 - n))


@cache
def seeds_needed(claims: int = 1, dissenters: int = 0) -> int:
    """How many seeds without a tie decide a claim of so many though some dissent."""
    n = dissenters + 1
    while 2 * upper_tail(np.asarray(n - dissenters), np.asarray(n)) * max(claims, 1) >= ALPHA:
        n += 1
    return n


def dissenters_borne(n: int, claims: int = 1) -> int:
    """How many of n seeds may dissent from a verdict; -1 where not even all together decide it."""
    borne = -1
    while seeds_needed(claims, borne + 1) <= n:
        borne += 1
    return borne


def seeds_for_failures(tau: float, claims: int = 1) -> int:
    """How many seeds show that neither arm fails alone in a share `tau`, if none does."""
    return math.ceil(math.log(ALPHA / max(claims, 1)) / math.log1p(-tau) + 1e-12)


def seeds_for_power(share: float, claims: int = 1, most: int = 200) -> int | None:
    """How many seeds decide a claim in 80 % of suites where a seed agrees with this probability; None: too many."""
    for n in range(seeds_needed(claims), most + 1):
        needed = n - dissenters_borne(n, claims)
        if scipy.special.bdtrc(needed - 1, n, share) >= POWER:
            return n
    return None
