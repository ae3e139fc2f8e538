"""A comparison of two arms at one grid point: a row of comparisons.csv."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import formatting, stats
from harness.analysis.measures.measure import Measure
from harness.analysis.pairing import ArmSample, Pairs
from harness.analysis.stats import ALPHA
from harness.analysis.stats.arrays import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One arm against another over paired seeds; its fields are the columns of comparisons.csv.

    Differences are positive where `arm` does better, or where it has more of a metric of which neither is good. Missing
    numbers are NaN.
    """

    arm: str
    than: str
    metric: str
    point: str  # the grid point in words, empty where there is one only
    n: int  # pairs: seeds with a score in both arms
    n_unpaired: int  # scores without a partner, excluded
    n_missing: int  # results without a score; they could change the verdict, so there is none without them
    n_absent: int  # seeds of the suite that are no pair: an arm has no result there
    arm_mean: float
    than_mean: float
    arm_failed: int  # trials that failed to train, of those that have a result, of those that the suite has
    arm_finished: int
    arm_trials: int
    arm_failed_low: float  # Wilson; missing where a unit is several trials
    arm_failed_high: float
    than_failed: int
    than_finished: int
    than_trials: int
    than_failed_low: float
    than_failed_high: float
    failures_p: float  # exact McNemar
    estimate: float  # the mean difference, with its t interval: no word rests on it
    low: float
    high: float
    median: float  # of the differences, with its exact interval
    median_low: float
    median_high: float
    margin: float
    wins: int  # pairs that lie above the margin, below it, and level with it or failed both
    losses: int
    ties: int
    arm_alone: int  # pairs of which this run alone failed to train
    than_alone: int
    p_supporting: float  # that most seeds agree with the claim (two-sided); of an equality, that both halves hold
    p_refuting: float  # that most seeds disagree, times the points of the claim
    p: float  # the smaller one, for this point alone
    p_floor: float  # the smallest that pairs without a tie can give
    tau: float = math.nan  # of an equality: the share of seeds in which an arm may fail alone
    below_upper: int = 0  # pairs that both trained, less than the margin above
    above_lower: int = 0  # pairs that both trained, less than the margin below
    p_accuracy: float = math.nan
    p_failures: float = math.nan
    arm_replaced: int = 0  # scores of failed trials that were replaced, such as by guessing
    than_replaced: int = 0
    arm_measured: float = math.nan  # the mean of the scores as they were measured, where any was replaced
    than_measured: float = math.nan
    reference_p: float = math.nan  # for reference: Page's one-sided test for slopes, log-rank for times
    bound: str = "exact"  # at least, at most or unknown where the grid ends before a range does, or at an optimum
    family: int = 1  # claims, or comparisons of a figure, that Holm's correction is over
    points: int = 1  # of the claim
    level: float = ALPHA  # which p_supporting or p_refuting has to be below
    seeds_needed: int = 0  # pairs without which no p is given
    p_adjusted: float = math.nan  # of a claim over all its points, after Holm
    failures_p_adjusted: float = math.nan
    reference_p_adjusted: float = math.nan
    verdict: str = ""  # empty where the row is a secondary test and has no part in the verdict
    shown_in: str = ""  # the claim or the figure that it belongs to
    definition: Measure = field(repr=False, compare=False)  # of the metric; no column

    @property
    def is_one_sample(self) -> bool:
        """Whether the arm is compared with a number, such as a published figure: that has no trials."""
        return self.than_trials == 0

    @property
    def is_equivalence(self) -> bool:
        """Whether both arms are tested for being equal."""
        return not math.isnan(self.p_accuracy)

    @property
    def direction(self) -> formatting.Direction:
        """In which unit the estimate is told, with the digits that its interval bears, and which way is which."""
        return self.definition.direction.fitted(self.low, self.high)

    @property
    def unit(self) -> formatting.Unit:
        """The unit of the estimate and of both means, with the digits that the interval bears."""
        return self.direction.unit


COMPARISON_FIELDS = [f.name for f in fields(Comparison) if f.name != "definition"]
P_VALUES = ("p", "failures_p", "reference_p")  # columns that are adjusted


def compare_pairs(pairs: Pairs, *, margin: float) -> Comparison:
    """The sign test of these pairs against the margin, before it is adjusted for others."""
    differences = pairs.differences
    interval, median = stats.mean_interval(differences), stats.median_interval(differences)
    ours, theirs = _failure_rate(pairs.ours), _failure_rate(pairs.theirs)
    replaced = [int((sample.scores != sample.measured).sum()) for sample in (pairs.ours, pairs.theirs)]
    measured = [_measured_mean(sample) if any(replaced) else math.nan for sample in (pairs.ours, pairs.theirs)]
    arm_alone, than_alone = stats.lone_failures(*pairs.failed)
    comparison = Comparison(
        arm=formatting.value(pairs.arm),
        than=formatting.value(pairs.than),
        metric=pairs.metric.name,
        definition=pairs.metric,
        point=formatting.point(pairs.point),
        n=len(differences),
        n_unpaired=pairs.n_unpaired,
        n_missing=pairs.n_missing,
        n_absent=pairs.n_absent,
        arm_mean=_mean(pairs.ours.scores),
        than_mean=_mean(pairs.theirs.scores),
        arm_failed=pairs.ours.failed,
        arm_finished=pairs.ours.finished,
        arm_trials=pairs.ours.trials,
        arm_failed_low=ours.low,
        arm_failed_high=ours.high,
        than_failed=pairs.theirs.failed,
        than_finished=pairs.theirs.finished,
        than_trials=pairs.theirs.trials,
        than_failed_low=theirs.low,
        than_failed_high=theirs.high,
        failures_p=_failures_p(pairs),
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        median=median.estimate,
        median_low=median.low,
        median_high=median.high,
        arm_alone=int(arm_alone),
        than_alone=int(than_alone),
        arm_replaced=replaced[0],
        than_replaced=replaced[1],
        arm_measured=measured[0],
        than_measured=measured[1],
        **_NOT_TESTED,
    )
    return with_sign_test(comparison, pairs.ranked, margin)


_NOT_TESTED: dict[str, Any] = {
    **dict.fromkeys(("margin", "p_supporting", "p_refuting", "p", "p_floor"), math.nan),
    **dict.fromkeys(("wins", "losses", "ties"), 0),
}


def with_sign_test(comparison: Comparison, ranked: FloatArray, margin: float, null: float | None = None) -> Comparison:
    """The comparison tested by these differences against `null`, which is the margin unless it has another unit."""
    test = stats.sign_test(ranked, margin if null is None else null)
    return replace(
        comparison,
        margin=margin,
        wins=int(test.wins),
        losses=int(test.losses),
        ties=int(test.ties),
        p_floor=stats.p_floor(int(test.wins + test.losses)),
        **_of_both_sides(float(test.p_more), float(test.p_less)),
    )


def with_further_test(comparison: Comparison, p_more: float, p_less: float) -> Comparison:
    """The comparison of which a further test has to say the same: each p is the larger of both (Berger 1982)."""
    one_sided = (max(comparison.p_supporting / 2, p_more), max(comparison.p_refuting / 2, p_less))
    return replace(comparison, **_of_both_sides(*one_sided))


def _of_both_sides(p_more: float, p_less: float) -> dict[str, Any]:
    supporting, refuting = min(1.0, 2 * p_more), min(1.0, 2 * p_less)
    return {"p_supporting": supporting, "p_refuting": refuting, "p": min(supporting, refuting)}


def compare_equivalence(pairs: Pairs, margin: float, tau: float) -> Comparison:
    """The test of these pairs for being equal: in the metric, and in training where a failure is worse than a score."""
    test = stats.equivalence_test(pairs.differences, *pairs.failed, margin, tau)
    counts_failures = pairs.metric.failed != 0
    supporting = float(test.p_supporting if counts_failures else test.p_accuracy)
    return replace(
        compare_pairs(pairs, margin=margin),
        wins=int(stats.sign_test(pairs.ranked, margin).wins),
        losses=int(stats.sign_test(pairs.ranked, -margin).losses),
        ties=int(np.isnan(pairs.ranked).sum()),
        tau=tau if counts_failures else math.nan,
        below_upper=int(test.below),
        above_lower=int(test.above),
        p_accuracy=float(test.p_accuracy),
        p_failures=float(test.p_failures) if counts_failures else math.nan,
        p_supporting=supporting,
        p_refuting=float(test.p_refuting),
        p=min(supporting, float(test.p_refuting)),
    )


def _measured_mean(sample: ArmSample) -> float:
    """The mean of what was measured; some trials have no value."""
    return _mean(sample.measured[np.isfinite(sample.measured)])


def _mean(scores: FloatArray) -> float:
    return float(scores.mean()) if len(scores) else math.nan


def _failure_rate(sample: ArmSample) -> stats.Interval:
    """The share that failed with its Wilson interval; no ends where a unit is several trials, which fail together."""
    rate = stats.wilson(sample.failed, sample.finished)
    return rate if sample.units_are_trials else stats.Interval(rate.estimate, math.nan, math.nan)


def _failures_p(pairs: Pairs) -> float:
    """The exact McNemar p; NaN where a unit is several trials: some of them may fail."""
    if not pairs.ours.units_are_trials:
        return math.nan
    return stats.mcnemar_p(pairs.ours.failures == 1, pairs.theirs.failures == 1)


def bound_of(ours_open: bool, theirs_open: bool) -> str:
    """What a difference is a bound of where either arm may do better still beyond the grid."""
    if ours_open and theirs_open:
        return "unknown"
    if ours_open:
        return "at least"
    return "at most" if theirs_open else "exact"


def adjusted(family: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with Holm's correction over all of them; no p where there are too few seeds for one."""
    needed = stats.seeds_needed(len(family))
    columns = {
        name: np.array([getattr(c, name) if c.n >= needed else math.nan for c in family], dtype=float)
        for name in P_VALUES
    }
    columns |= {f"{name}_adjusted": stats.holm(p) for name, p in columns.items()}
    return [
        replace(
            comparison,
            family=len(family),
            seeds_needed=needed,
            **{name: float(values[i]) for name, values in columns.items()},  # type: ignore[arg-type]
        )
        for i, comparison in enumerate(family)
    ]


def shared_direction(comparisons: Sequence[Comparison]) -> formatting.Direction:
    """That of several estimates told together: of the one with the widest interval."""
    widest = max(comparisons, key=lambda c: c.high - c.low if math.isfinite(c.high - c.low) else -1.0)
    return widest.direction


def comparisons_frame(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """The comparisons as the frame that comparisons.csv holds."""
    rows = [[getattr(comparison, name) for name in COMPARISON_FIELDS] for comparison in comparisons]
    return pd.DataFrame(rows, columns=COMPARISON_FIELDS)
