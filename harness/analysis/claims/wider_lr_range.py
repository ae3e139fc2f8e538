"""`wider_lr_range`: the arm reaches the target over more decades of learning rates."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.analysis import formatting, pairing
from harness.analysis.claim_checks import check_lrs, check_outcome, check_target
from harness.analysis.claim_kind import ClaimKind
from harness.analysis.claim_words import claim_words, target_words
from harness.analysis.comparison import Comparison, bound_of, compare_pairs
from harness.analysis.judging import judge_superiority
from harness.analysis.lr_ranges import range_units
from harness.analysis.metrics import metrics_of
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest, is_own
from harness.storage.tables import Results


def check_wider_lr_range(claim: Claim, manifest: Manifest) -> None:
    check_outcome(claim, manifest)
    check_target(manifest)
    check_lrs(claim, manifest)


def compare_ranges(claim: Claim, results: Results, _rng: np.random.Generator) -> list[Comparison]:
    """The usable ranges in decades, with what is beyond the grid: the difference may be a bound."""
    comparisons = []
    for pairs in _pairs_over_lr(claim, results, "lr_decades", score="score"):
        comparison = compare_pairs(pairs, margin=claim.margin)
        # Arms that reach the target nowhere are not alike: the range of either may lie elsewhere.
        nowhere = not (pairs.ours.scores.any() or pairs.theirs.scores.any())
        bound = "unknown" if nowhere else bound_of(_is_open(pairs.ours), _is_open(pairs.theirs))
        comparisons.append(replace(comparison, bound=bound))
    return comparisons


def compare_sensitivities(claim: Claim, results: Results, _rng: np.random.Generator) -> list[list[Comparison]]:
    """How much the choice of a learning rate matters, whatever the target; nothing of own training."""
    if is_own(results.manifest):
        return []
    pairs = _pairs_over_lr(claim, results, "lr_sensitivity", score="sensitivity")
    return [[compare_pairs(p, margin=0.0) for p in pairs]]


def _pairs_over_lr(claim: Claim, results: Results, metric: str, *, score: str) -> list[pairing.Pairs]:
    """Pairs of a column of `range_units`, at every grid point without lr."""
    units = range_units(pairing.matching(results.trials, claim.where), results.manifest)
    units = units.assign(score=units[score])
    manifest = results.manifest
    axes, scored_by = pairing.axes(manifest, "lr"), metrics_of(manifest)[metric]
    return pairing.pairs_of(units, manifest, axes, arm=claim.arm, than=claim.than, metric=scored_by)


def _is_open(sample: pairing.ArmSample) -> bool:
    """Whether the range of a seed goes on beyond the grid."""
    return not sample.units[["low_seen", "high_seen"]].all(axis=None)


def wider_lr_range_statement(claim: Claim, manifest: Manifest) -> str:
    words = claim_words(claim, manifest, formatting.DECADES)
    target = target_words(manifest, "test")
    return (
        f"{words.arm} reaches {target} over a wider range of learning rates than {words.than}"
        f"{words.by_more}{words.where}"
    )


def range_bounds(comparisons: Sequence[Comparison]) -> str:
    """Which ranges continue past the grid, and which arm has none in it."""
    bounds = {comparison.bound for comparison in comparisons}
    text = ""
    if any(c.bound == "unknown" and c.arm_mean == c.than_mean == 0 for c in comparisons):
        text = " No learning rate tried brings either arm to the target: only another grid can show their ranges."
    elif bounds & {"at most", "unknown"}:
        text = f" The range of {comparisons[0].than} continues past the grid: only a wider grid can show it."
    elif "at least" in bounds:
        text = f" The range of {comparisons[0].arm} continues past the grid: the true difference is larger."
    one_nowhere = [c for c in comparisons if (c.arm_mean == 0) != (c.than_mean == 0)]
    for arm in dict.fromkeys(c.than if c.arm_mean else c.arm for c in one_nowhere):
        text += f" {arm} reaches the target nowhere: its range counts as 0, and may lie elsewhere."
    return text


WIDER_LR_RANGE = ClaimKind(
    check=check_wider_lr_range,
    margin_is_of_metric=False,
    collapsed_axes=lambda claim: ("lr",),
    compare=compare_ranges,
    judge=judge_superiority,
    secondary_tests=compare_sensitivities,
    statement=wider_lr_range_statement,
    bounds=range_bounds,
)
