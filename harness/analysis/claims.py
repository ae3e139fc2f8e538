"""How each kind of claim is put to the test: what it compares, and how a comparison is judged.

To add a kind: a constructor in harness/spec/claim.py, an entry in KINDS below, its wording in sentences.py.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import formatting, pairing, stats, sweeps
from harness.analysis.comparison import Comparison, compare
from harness.analysis.curve_metrics import with_curve
from harness.analysis.metrics import FAILED, METRICS
from harness.analysis.stats import ALPHA
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest
from harness.storage.tables import Results

SUPPORTED, REFUTED, UNDECIDED, DESCRIPTIVE = VERDICTS = ("supported", "refuted", "undecided", "descriptive")
Compare = Callable[[Claim, Results, np.random.Generator], list[Comparison]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimKind:
    """How one kind of claim is put to the test."""

    compare: Compare
    judge: Callable[[Comparison], str]
    secondary_tests: Callable[[Claim, Results, np.random.Generator], list[list[Comparison]]] | None = (
        None  # families of them
    )
    over_lr: bool = False  # it needs a fine grid of learning rates
    needs_margin: bool = False
    takes_curves: bool = False  # it says nothing of better and worse


def other_arm(claim: Claim, manifest: Manifest) -> tuple[Any, dict[str, Any]]:
    """The arm that a claim compares with where it stands at another point, and the axes of that point."""
    there = dict(claim.against)
    return there.pop(manifest.compare, claim.than), there


def elsewhere(claim: Claim, manifest: Manifest) -> str:
    """The other arm in words, with the point at which it stands."""
    than, there = other_arm(claim, manifest)
    return f"{formatting.value(than)} at {formatting.point(there)}" if there else formatting.value(than)


def _units(claim: Claim, results: Results) -> tuple[pd.DataFrame, str]:
    """The trials of both arms, each where it stands, with a score; the name of the metric."""
    trials, metric = with_curve(results, claim.metric, claim.at)
    than, there = other_arm(claim, results.manifest)
    ours = trials[results.manifest.compare] == claim.arm
    here, elsewhere = (pairing.matching(trials, where).index for where in (claim.where, {**claim.where, **there}))
    theirs = (trials[results.manifest.compare] == than) & trials.index.isin(elsewhere)
    kept = trials[(ours & trials.index.isin(here)) | theirs]
    units = pairing.slim(pairing.score_units(kept, metric), results.manifest)
    if metric == "steps_to_target":
        units = units.assign(reached=kept[metric].notna() & ~kept["status"].isin(FAILED))
    if claim.is_ratio:
        positive = units["score"].where(units["score"] > 0)
        units, metric = units.assign(score=np.log(positive)), f"{metric} as a ratio"
    return units, metric


def _pairs(claim: Claim, results: Results, *, is_swapped: bool = False) -> list[pairing.Pairs]:
    """The pairs of a claim at each of its grid points; turned, they are those of the other arm against this one."""
    (units, metric), (than, there) = _units(claim, results), other_arm(claim, results.manifest)
    found = pairing.pairs_of(units, results.manifest, pairing.axes(results.manifest), (claim.arm, than, metric), there)
    return [pairs.swapped() for pairs in found] if is_swapped else found


def _named(comparison: Comparison, claim: Claim, results: Results, *, is_swapped: bool = False) -> Comparison:
    """The comparison, its other arm named with the point at which it stands."""
    if not claim.against:
        return comparison
    there = elsewhere(claim, results.manifest)
    return replace(comparison, arm=there) if is_swapped else replace(comparison, than=there)


def _compare_more(claim: Claim, results: Results, rng: np.random.Generator) -> list[Comparison]:
    found = [compare(p, margin=claim.margin, null=claim.margin, rng=rng) for p in _pairs(claim, results)]
    return [_named(comparison, claim, results) for comparison in found]


def _compare_times(claim: Claim, results: Results, rng: np.random.Generator) -> list[Comparison]:
    """With the log-rank test beside each, which knows that who never got there was only not seen to."""
    found = zip(_compare_more(claim, results, rng), _pairs(claim, results), strict=True)
    return [replace(comparison, reference_p=_log_rank_p(pairs)) for comparison, pairs in found]


def _log_rank_p(pairs: pairing.Pairs) -> float:
    """NaN where no trial of either arm reached the target: there is nothing to rank."""
    reached = [side.units["reached"].to_numpy(bool) for side in (pairs.ours, pairs.theirs)]
    if not any(arm.any() for arm in reached):
        return math.nan
    return stats.log_rank_p(pairs.ours.scores, reached[0], pairs.theirs.scores, reached[1])


def _compare_direction(claim: Claim, results: Results, rng: np.random.Generator) -> list[Comparison]:
    """With the arm first that is claimed to have more, or less where less of the metric is better."""
    is_turned = (claim.kind == "less") == (claim.is_ratio or METRICS[claim.metric].sign > 0)
    pairs = _pairs(claim, results, is_swapped=is_turned)
    found = [compare(p, margin=claim.margin, null=claim.margin, rng=rng) for p in pairs]
    return [_named(comparison, claim, results, is_swapped=is_turned) for comparison in found]


def _compare_same(claim: Claim, results: Results, rng: np.random.Generator) -> list[Comparison]:
    return [_named(same(p, claim.margin, rng), claim, results) for p in _pairs(claim, results)]


def same(pairs: pairing.Pairs, margin: float, rng: np.random.Generator) -> Comparison:
    """The comparison for equality: its sign-flip test is against the end of the margin that is nearer."""
    nearer_end = float(np.copysign(margin, pairs.differences.sum()))
    return compare(pairs, margin=margin, null=nearer_end, rng=rng)


def _compare_published(claim: Claim, results: Results, rng: np.random.Generator) -> list[Comparison]:
    """Seeds against one number: the other side has no trials."""
    units, metric = _units(claim, results)
    found = []
    for point, here in pairing.by_point(units, pairing.axes(results.manifest)):
        if not here.empty:
            ours = pairing.by_seed(here)
            theirs = ours.assign(score=claim.published, failed=0, finished=0, trials=0)
            pairs = pairing.paired(ours, theirs, (claim.arm, claim.than, metric), point)
            comparison = same(replace(pairs, n_unpaired=0), claim.margin, rng)
            found.append(replace(comparison, than_mean=float(claim.published or 0), failures_p=math.nan))
    return found


def _compare_ranges(claim: Claim, results: Results, rng: np.random.Generator) -> list[Comparison]:
    ranges = pairing.range_units(pairing.matching(results.trials, claim.where), results.manifest)
    found = []
    for pairs in pairing.range_pairs(ranges, results.manifest, claim.arm, claim.than):
        comparison = compare(pairs, margin=claim.margin, null=claim.margin, rng=rng)
        # Arms that reach the target nowhere are not alike: the range of either may lie elsewhere.
        nowhere = not (pairs.ours.scores.any() or pairs.theirs.scores.any())
        bound = "unknown" if nowhere else pairing.BOUNDS[_is_open(pairs.ours), _is_open(pairs.theirs)]
        found.append(replace(comparison, bound=bound))
    return found


def _beside_ranges(claim: Claim, results: Results, rng: np.random.Generator) -> list[list[Comparison]]:
    """How much the choice of a learning rate matters, whatever the target."""
    ranges = pairing.range_units(pairing.matching(results.trials, claim.where), results.manifest)
    found = pairing.sensitivity_pairs(ranges, results.manifest, claim.arm, claim.than)
    return [[compare(pairs, margin=0.0, null=0.0, rng=rng) for pairs in found]]


def _is_open(side: pairing.ArmSample) -> bool:
    """Whether the range of a seed goes on beyond the grid."""
    return not side.units[["low_seen", "high_seen"]].all(axis=None)


def _compare_costs(claim: Claim, results: Results, rng: np.random.Generator) -> list[Comparison]:
    """On a scale of logarithms, on which cheaper is more."""
    pairs = pairing.cost_pairs(results, pairing.matching(results.trials, claim.where), claim.arm, claim.than)
    least = -math.log(claim.margin)
    return [compare(p, margin=least, null=least, rng=rng) for p in pairs]


def _compare_slopes(claim: Claim, results: Results, rng: np.random.Generator) -> list[Comparison]:
    return slopes(claim, results.trials, results.manifest, rng)


def slopes(claim: Claim, trials: pd.DataFrame, manifest: Manifest, rng: np.random.Generator) -> list[Comparison]:
    """The comparisons of a trend, with Page's test beside each."""
    return [
        replace(compare(pairs, margin=claim.margin, null=claim.margin, rng=rng), reference_p=page_p)
        for pairs, page_p in sweeps.trends(trials, manifest, claim)
    ]


def _compare_tuned(claim: Claim, results: Results, rng: np.random.Generator) -> list[Comparison]:
    """With the interval of a bootstrap that chooses again in each resample."""
    found = []
    for pairs, interval, bound in sweeps.tuned(results, claim, rng):
        comparison = compare(pairs, margin=claim.margin, null=claim.margin, rng=rng)
        found.append(replace(comparison, low=interval.low, high=interval.high, bound=bound))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """The three columns of one grid point, of the seeds that have a score in each."""

    local: pairing.Pairs  # the arm against what loses
    lost: pairing.Pairs  # one big batch against what loses
    joint: pairing.Pairs  # the arm against one big batch


def recoveries(claim: Claim, results: Results) -> list[Recovery]:
    """What a claim `recovers` is about, at each of its grid points."""
    joint = {_key(p): p for p in _pairs(claim, results)}
    lost = {_key(p): p for p in _pairs(replace(claim, arm=claim.than), results, is_swapped=True)}
    found = []
    for key, local in ((_key(p), p) for p in _pairs(replace(claim, against={}), results)):
        if key in joint and key in lost:
            seeds = local.ours.units.index
            for other in (joint[key], lost[key]):
                seeds = seeds.intersection(other.ours.units.index)
            kept = [pairs.of_seeds(seeds) for pairs in (local, lost[key], joint[key])]
            found.append(Recovery(local=kept[0], lost=kept[1], joint=kept[2]))
    return found


def _key(pairs: pairing.Pairs) -> tuple[Any, ...]:
    return tuple(pairs.point.items())


def _compare_recovered(claim: Claim, results: Results, rng: np.random.Generator) -> list[Comparison]:
    """The share recovered; its p is of gain - margin x loss, which is 0 where the share is the margin."""
    found = []
    for of in recoveries(claim, results):
        gain, loss = of.local.differences, of.lost.differences
        comparison = compare(of.local, margin=claim.margin, null=claim.margin, rng=rng)
        share = stats.recovered_fraction(0 * gain, gain, loss, rng, stats.expanded_percentiles(len(gain)))
        found.append(
            replace(
                comparison,
                metric=f"{claim.metric} recovered",
                estimate=share.estimate,
                low=share.low,
                high=share.high,
                p=stats.sign_flip_p(gain - claim.margin * loss, rng),
                equivalence_p=math.nan,
            )
        )
    return found


def _beside_recovered(claim: Claim, results: Results, rng: np.random.Generator) -> list[list[Comparison]]:
    """What is lost, and whether the arm equals one big batch."""
    found = recoveries(claim, results)
    lost = [compare(of.lost, margin=0.0, null=0.0, rng=rng) for of in found]
    joint = [same(of.joint, claim.within or 0.0, rng) for of in found]
    return [
        [_named(comparison, claim, results, is_swapped=True) for comparison in lost],
        [_named(comparison, claim, results) for comparison in joint],
    ]


def _judge_more(comparison: Comparison) -> str:
    """More than the margin: a lower bound of the difference can support it, an upper bound can refute it."""
    if comparison.n < comparison.seeds_needed:
        return DESCRIPTIVE
    if comparison.n_missing or not comparison.p_adjusted < ALPHA:
        return UNDECIDED
    if comparison.low > comparison.margin and comparison.bound in ("exact", "at least"):
        return SUPPORTED
    if comparison.high < comparison.margin and comparison.bound in ("exact", "at most"):
        return REFUTED
    return UNDECIDED


def _judge_same(comparison: Comparison) -> str:
    """The same but for the margin; arms that never trained at all are not equally good, that is unknown."""
    if comparison.n < comparison.seeds_needed:
        return DESCRIPTIVE
    failed = comparison.arm_failed == comparison.arm_finished and comparison.than_failed == comparison.than_finished
    if comparison.n_missing or (failed and METRICS[comparison.metric].is_directed):
        return UNDECIDED
    if comparison.equivalence_p_adjusted < ALPHA:
        return SUPPORTED
    outside = comparison.low > comparison.margin or comparison.high < -comparison.margin
    return REFUTED if outside and comparison.p_adjusted < ALPHA else UNDECIDED


KINDS = {
    "better": ClaimKind(compare=_compare_more, judge=_judge_more),
    "more": ClaimKind(compare=_compare_direction, judge=_judge_more, takes_curves=True),
    "less": ClaimKind(compare=_compare_direction, judge=_judge_more, takes_curves=True),
    "equivalent": ClaimKind(compare=_compare_same, judge=_judge_same, needs_margin=True, takes_curves=True),
    "matches": ClaimKind(compare=_compare_published, judge=_judge_same, needs_margin=True, takes_curves=True),
    "wider_lr_range": ClaimKind(
        compare=_compare_ranges, judge=_judge_more, secondary_tests=_beside_ranges, over_lr=True
    ),
    "best_tuned": ClaimKind(compare=_compare_tuned, judge=_judge_more),
    "trend": ClaimKind(compare=_compare_slopes, judge=_judge_more),
    "sooner": ClaimKind(compare=_compare_times, judge=_judge_more),
    "recovers": ClaimKind(compare=_compare_recovered, judge=_judge_more, secondary_tests=_beside_recovered),
    "costs": ClaimKind(compare=_compare_costs, judge=_judge_more),
}
