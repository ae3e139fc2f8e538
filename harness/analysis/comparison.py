"""A comparison of two arms at one grid point: a row of comparisons.csv."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import pandas as pd

from harness.analysis import formatting, stats
from harness.analysis.measures.measure import Measure
from harness.analysis.pairing import ArmSample, Pairs
from harness.analysis.stats.arrays import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One arm against another over paired seeds; its fields are the columns of comparisons.csv.

    The estimate is the mean paired difference, positive where `arm` does better, or where it has more of a metric of
    which neither is good. Missing numbers are NaN.
    """

    arm: str
    than: str
    metric: str
    point: str  # the grid point in words, empty where there is one only
    n: int  # pairs: seeds with a score in both arms
    n_unpaired: int  # scores without a partner, excluded
    n_missing: int  # results without a score; they could change the verdict, so there is none without them
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
    estimate: float
    low: float  # 95 %, t
    high: float
    margin: float
    null: float  # the difference that p tests against
    p: float  # sign-flip test, exact up to 20 pairs
    equivalence_p: float  # two one-sided t tests against the margin
    p_floor: float
    arm_replaced: int = 0  # scores of failed trials that were replaced, such as by guessing
    than_replaced: int = 0
    arm_measured: float = math.nan  # the mean of the scores as they were measured, where any was replaced
    than_measured: float = math.nan
    reference_p: float = math.nan  # for reference: Page's one-sided test for slopes, log-rank for times
    bound: str = "exact"  # at least, at most or unknown where the grid ends before a range does, or at an optimum
    family: int = 1  # comparisons that Holm's correction is over
    seeds_needed: int = 0  # pairs without which no p is given
    p_adjusted: float = math.nan
    equivalence_p_adjusted: float = math.nan
    failures_p_adjusted: float = math.nan
    reference_p_adjusted: float = math.nan
    verdict: str = ""  # empty where the row is a secondary test and has no part in the verdict
    shown_in: str = ""  # the claim or the figure that it belongs to
    definition: Measure = field(repr=False, compare=False)  # of the metric; no column

    @property
    def is_one_sample(self) -> bool:
        """Whether the arm is compared with a number, such as a published figure: that has no trials."""
        return self.than_trials == 0


COMPARISON_FIELDS = [f.name for f in fields(Comparison) if f.name != "definition"]
P_VALUES = ("p", "equivalence_p", "failures_p", "reference_p")  # columns that are adjusted


def compare_pairs(pairs: Pairs, *, margin: float, null: float, rng: np.random.Generator) -> Comparison:
    """The comparison of these pairs, before it is adjusted for its family."""
    differences = pairs.differences
    interval = stats.mean_interval(differences)
    ours, theirs = _failure_rate(pairs.ours), _failure_rate(pairs.theirs)
    replaced = [int((sample.scores != sample.measured).sum()) for sample in (pairs.ours, pairs.theirs)]
    measured = [_measured_mean(sample) if any(replaced) else math.nan for sample in (pairs.ours, pairs.theirs)]
    return Comparison(
        arm=formatting.value(pairs.arm),
        than=formatting.value(pairs.than),
        metric=pairs.metric.name,
        definition=pairs.metric,
        point=formatting.point(pairs.point),
        n=len(differences),
        n_unpaired=pairs.n_unpaired,
        n_missing=pairs.n_missing,
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
        margin=margin,
        null=null,
        p=stats.sign_flip_p(differences - null, rng),
        equivalence_p=stats.equivalence_p(differences, margin) if margin > 0 else math.nan,
        p_floor=stats.p_floor(len(differences)),
        arm_replaced=replaced[0],
        than_replaced=replaced[1],
        arm_measured=measured[0],
        than_measured=measured[1],
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


def comparisons_frame(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """The comparisons as the frame that comparisons.csv holds."""
    rows = [[getattr(comparison, name) for name in COMPARISON_FIELDS] for comparison in comparisons]
    return pd.DataFrame(rows, columns=COMPARISON_FIELDS)
