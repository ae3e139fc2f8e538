"""From a comparison to a verdict at one grid point, and from these to one on a claim: the rules that kinds share."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.analysis import stats
from harness.analysis.comparison import Comparison

SUPPORTED, REFUTED, UNDECIDED, DESCRIPTIVE, EXPLORATORY = VERDICTS = (
    "supported",
    "refuted",
    "undecided",
    "descriptive",
    "exploratory",
)
MIN_SEEDS = stats.seeds_needed()  # with fewer no test can decide anything


def judge_superiority(c: Comparison) -> str:
    """More than the margin in most seeds, or less than it; undecided where an edge of the grid hides the difference."""
    if c.n < MIN_SEEDS:
        return DESCRIPTIVE
    if c.n_missing:
        return UNDECIDED
    if c.p_supporting < c.level and c.bound in ("exact", "at least") and not fails_more_often(c):
        return UNDECIDED if _sign_p(c.wins, c) >= c.level else SUPPORTED
    if c.p_refuting < c.level and c.bound in ("exact", "at most"):
        return UNDECIDED if c.points * _sign_p(c.losses, c) >= c.level else REFUTED
    return UNDECIDED


def judge_equivalence(c: Comparison) -> str:
    """Equal within the margin, and neither fails alone too often."""
    if c.n < MIN_SEEDS:
        return DESCRIPTIVE
    if c.n_missing:
        return UNDECIDED
    if c.p_supporting < c.level:
        return SUPPORTED if _equivalence_p_at_worst(c) < c.level else UNDECIDED
    if c.p_refuting < c.level:
        return UNDECIDED if c.points * _sign_p(max(c.wins, c.losses), c) >= c.level else REFUTED
    return UNDECIDED


def _sign_p(count: int, c: Comparison) -> float:
    """The p of so many seeds on one side if all seeds without a result were to come out on the other."""
    if not c.n_absent:
        return 0.0
    return min(1.0, 2 * float(stats.upper_tail(np.asarray(count), np.asarray(c.n - c.ties + c.n_absent))))


def _equivalence_p_at_worst(c: Comparison) -> float:
    """The p of equality if in all seeds without a result one arm were to fail alone."""
    if not c.n_absent:
        return c.p_supporting
    n = c.n + c.n_absent
    p_accuracy = float(stats.upper_tail(np.asarray(min(c.below_upper, c.above_lower)), np.asarray(n)))
    if np.isnan(c.tau):
        return p_accuracy
    alone = np.asarray(max(c.arm_alone, c.than_alone) + c.n_absent)
    return max(p_accuracy, float(stats.failures_p(alone, n, c.tau)))


def fails_more_often(c: Comparison) -> bool:
    """Whether the arm that a claim speaks for fails alone significantly more often than the other."""
    alone = (c.arm_alone, c.than_alone) if c.definition.failed < 0 else (c.than_alone, c.arm_alone)
    return bool(stats.fails_more(*map(np.asarray, alone)))


def is_held_back(c: Comparison, word: str) -> bool:
    """Whether seeds without a result alone keep a verdict back, which they could turn."""
    judge = judge_equivalence if c.is_equivalence else judge_superiority
    return bool(c.n_absent) and word == UNDECIDED and judge(replace(c, n_absent=0)) != UNDECIDED


def claim_p(points: Sequence[Comparison]) -> float:
    """The p of a claim over its points: that it holds at all, or fails at one; NaN where none has enough seeds."""
    if not any(c.n >= MIN_SEEDS for c in points):
        return float("nan")
    supporting, refuting = (np.array([getattr(c, name) for c in points]) for name in ("p_supporting", "p_refuting"))
    return float(min(*stats.over_points(supporting, refuting)))


def overall(words: Sequence[str]) -> str:
    """The verdict on a claim from those at its grid points."""
    if REFUTED in words:
        return REFUTED
    if set(words) <= {DESCRIPTIVE}:
        return DESCRIPTIVE
    return SUPPORTED if set(words) == {SUPPORTED} else UNDECIDED
