"""Claims into verdicts: what the data say of what a suite declared.

To add a kind: a constructor in harness/claim.py, an entry in KINDS below. A verdict is one of

supported    the claim holds at every grid point that it covers
refuted      the opposite of the claim holds at one of these points at least
undecided    neither: the interval covers the margin, the test does not exclude chance, or the grid of lr is too short
descriptive  too few seeds for any test to decide; no p is given

A claim "more than a margin" is supported at a point where the 95 % interval of the paired difference lies wholly above
the margin, and refuted where it lies wholly below, in both cases only if the exact sign-flip test of the difference
against the margin passes Holm's correction over the points of the claim. A claim "equal within a margin" is supported
where two one-sided t tests pass that correction, and refuted where the interval lies wholly outside of the margin and
the sign-flip test against the nearer end of the margin passes.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from harness.claim import Claim
from harness.errors import SuiteError, lookup, nearest
from harness.reporting import grid, words
from harness.reporting.comparison import Comparison, adjusted, compare
from harness.reporting.metrics import METRICS, TRIAL_METRICS
from harness.reporting.sentences import sentence, statement
from harness.reporting.stats import ALPHA
from harness.store import Results

SUPPORTED, REFUTED, UNDECIDED, DESCRIPTIVE = VERDICTS = ("supported", "refuted", "undecided", "descriptive")
MOST_DECADES_APART = 0.53  # of neighbouring learning rates: two a decade, also as 1, 3, 10 (log10(10 / 3) = 0.523)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the data say of one claim."""

    claim: Claim
    statement: str  # the claim in words
    word: str
    sentence: str
    comparisons: tuple[Comparison, ...]  # one for each grid point
    declared_after: int  # trials that had results when the claim was first declared


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How one kind of claim is put to the test."""

    compare: Callable[[Claim, Results, np.random.Generator], list[Comparison]]
    judge: Callable[[Comparison], str]
    over_lr: bool = False  # it needs a fine grid of learning rates
    needs_margin: bool = False


def check(claims: Iterable[Claim], suite: Mapping[str, Any]) -> None:
    """Refuse claims that the suite can't answer, before anything is trained; `suite` is what suite.json holds."""
    for number, claim in enumerate(claims, start=1):
        try:
            _check(claim, suite)
        except SuiteError as error:
            raise SuiteError(f"claim {number} ({claim.kind}): {error}") from None


def verdicts(results: Results, rng: np.random.Generator) -> list[Verdict]:
    """The verdict on every claim of the suite, in their order."""
    found = []
    for number, declared in enumerate(results.suite["claims"], start=1):
        declared = dict(declared)
        declared_after = declared.pop("declared_after", 0)
        claim = Claim(**declared)
        check([claim], results.suite)
        found.append(_verdict(claim, declared_after, f"claim {number}", results, rng))
    return found


def _verdict(claim: Claim, declared_after: int, name: str, results: Results, rng: np.random.Generator) -> Verdict:
    kind = KINDS[claim.kind]
    judged = [replace(c, shown_in=name, verdict=kind.judge(c)) for c in adjusted(kind.compare(claim, results, rng))]
    word = _overall([comparison.verdict for comparison in judged])
    return Verdict(
        claim=claim,
        statement=statement(claim, results.suite["target_accuracy"]),
        word=word,
        sentence=sentence(claim, judged, word),
        comparisons=tuple(judged),
        declared_after=declared_after,
    )


def _overall(found: list[str]) -> str:
    if REFUTED in found:
        return REFUTED
    if set(found) <= {DESCRIPTIVE}:
        return DESCRIPTIVE
    return SUPPORTED if set(found) == {SUPPORTED} else UNDECIDED


def _check(claim: Claim, suite: Mapping[str, Any]) -> None:
    kind = lookup(KINDS, claim.kind, "kind of claim")
    lookup(METRICS if claim.kind == "costs" else TRIAL_METRICS, claim.metric, "metric")
    known = grid.arms(suite)
    for arm in (claim.arm, claim.than):
        if arm not in known:
            raise SuiteError(f"no arm {arm!r} on axis {suite['compare']!r}; {nearest(str(arm), map(str, known))}")
    for axis, wanted in claim.where.items():
        _check_where(axis, wanted if isinstance(wanted, list | tuple) else [wanted], suite)
    if (kind.over_lr or claim.metric == "steps_to_target") and suite["target_accuracy"] is None:
        raise SuiteError("it is about reaching a target: give the suite a target_accuracy")
    if kind.needs_margin and claim.margin == 0:
        raise SuiteError("no sample shows that two means are equal: give a margin above 0 (within=...)")
    if kind.over_lr:
        _check_lrs(sorted(grid.values(suite, "lr")))


def _check_where(axis: str, wanted: Iterable[Any], suite: Mapping[str, Any]) -> None:
    if axis in (suite["compare"], "seed"):
        raise SuiteError(f"a claim covers all values of {axis}; `where` can't choose among them")
    if axis not in suite["axes"] and axis not in suite["settings"]:
        raise SuiteError(
            f"`where` names no axis: {axis!r}; {nearest(axis, grid.axes(suite)) if grid.axes(suite) else ''}"
        )
    known = grid.values(suite, axis)
    for value in wanted:
        if value not in known:
            raise SuiteError(f"no {axis} {value!r} in this suite; choose from: {', '.join(map(words.value, known))}")


def _check_lrs(lrs: list[float]) -> None:
    if len(lrs) < 2:
        raise SuiteError(f"it needs learning rates to range over, got lr={lrs}; use log_grid")
    for low, high in pairwise(lrs):
        if math.log10(high / low) > MOST_DECADES_APART:
            raise SuiteError(f"it needs 2 learning rates a decade at least, got none between {low} and {high}")


def _metric_pairs(claim: Claim, results: Results) -> list[grid.Pairs]:
    here = grid.matching(results.trials, claim.where)
    return grid.metric_pairs(here, results.suite, claim.arm, claim.than, claim.metric)


def _compare_more(claim: Claim, results: Results, rng: np.random.Generator) -> list[Comparison]:
    return [compare(p, margin=claim.margin, null=claim.margin, rng=rng) for p in _metric_pairs(claim, results)]


def _compare_same(claim: Claim, results: Results, rng: np.random.Generator) -> list[Comparison]:
    """The sign-flip test is against the end of the margin that the estimate is nearer to."""
    found = []
    for pairs in _metric_pairs(claim, results):
        nearer_end = np.copysign(claim.margin, pairs.differences.sum())
        found.append(compare(pairs, margin=claim.margin, null=float(nearer_end), rng=rng))
    return found


def _compare_ranges(claim: Claim, results: Results, rng: np.random.Generator) -> list[Comparison]:
    ranges = grid.range_units(grid.matching(results.trials, claim.where), results.suite)
    found = []
    for pairs in grid.range_pairs(ranges, results.suite, claim.arm, claim.than):
        comparison = compare(pairs, margin=claim.margin, null=claim.margin, rng=rng)
        found.append(replace(comparison, bound=_bound(pairs)))
    return found


def _compare_costs(claim: Claim, results: Results, rng: np.random.Generator) -> list[Comparison]:
    """On a scale of logarithms, on which cheaper is more."""
    pairs = grid.cost_pairs(results, grid.matching(results.trials, claim.where), claim.arm, claim.than)
    least = -math.log(claim.margin)
    return [compare(p, margin=least, null=least, rng=rng) for p in pairs]


def _bound(pairs: grid.Pairs) -> str:
    """What the difference of two ranges is a bound of, where the grid ends before a range does."""
    ours, theirs = (not side.units[["low_seen", "high_seen"]].all(axis=None) for side in (pairs.ours, pairs.theirs))
    return {(False, False): "exact", (True, False): "at least", (False, True): "at most", (True, True): "unknown"}[
        ours, theirs
    ]


def _judge_more(comparison: Comparison) -> str:
    """More than the margin: a lower bound of the difference can support it, an upper bound can refute it."""
    if comparison.n < comparison.seeds_needed:
        return DESCRIPTIVE
    if (
        comparison.p_adjusted < ALPHA
        and comparison.low > comparison.margin
        and comparison.bound in ("exact", "at least")
    ):
        return SUPPORTED
    if (
        comparison.p_adjusted < ALPHA
        and comparison.high < comparison.margin
        and comparison.bound in ("exact", "at most")
    ):
        return REFUTED
    return UNDECIDED


def _judge_same(comparison: Comparison) -> str:
    """The same but for the margin; arms that never trained at all are not the same, they are unknown."""
    if comparison.n < comparison.seeds_needed:
        return DESCRIPTIVE
    if comparison.arm_failed == comparison.arm_finished and comparison.than_failed == comparison.than_finished:
        return UNDECIDED
    if comparison.equivalence_p_adjusted < ALPHA:
        return SUPPORTED
    outside = comparison.low > comparison.margin or comparison.high < -comparison.margin
    return REFUTED if outside and comparison.p_adjusted < ALPHA else UNDECIDED


KINDS = {
    "better": Kind(compare=_compare_more, judge=_judge_more),
    "equivalent": Kind(compare=_compare_same, judge=_judge_same, needs_margin=True),
    "wider_lr_range": Kind(compare=_compare_ranges, judge=_judge_more, over_lr=True),
    "sooner": Kind(compare=_compare_more, judge=_judge_more),
    "costs": Kind(compare=_compare_costs, judge=_judge_more),
}
