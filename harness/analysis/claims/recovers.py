"""`recovers`: the arm recovers a share of what another arm loses against one big batch."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.analysis import formatting, pairing, stats
from harness.analysis.claim_checks import check_other_point, check_outcome
from harness.analysis.claim_kind import ClaimKind
from harness.analysis.claim_pairs import claim_pairs, with_other_arm_words
from harness.analysis.claim_words import claim_words
from harness.analysis.comparison import (
    Comparison,
    compare_equivalence,
    compare_pairs,
    with_further_test,
    with_sign_test,
)
from harness.analysis.judging import judge_superiority
from harness.analysis.metrics import metrics_of
from harness.errors import SuiteError
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest
from harness.storage.tables import Results


def check_recovers(claim: Claim, manifest: Manifest) -> None:
    check_outcome(claim, manifest)
    if claim.metric == "steps_to_target" or claim.margin > 1:
        raise SuiteError(
            f"it is about a share of what is lost: at_least in 0..1 of an outcome such as test_accuracy; "
            f"got {claim.margin!r} of {claim.metric!r}"
        )
    check_other_point(claim, manifest)
    if claim.arm == claim.than:
        raise SuiteError(f"an arm can't recover what it loses itself, got {claim.arm!r} twice")
    axes = [axis for axis in claim.against if axis != manifest.compare]
    if not axes:
        raise SuiteError(f'say where the one big batch stands: against={{"world_size": 1}}, got {claim.against!r}')
    followers = [axis for axis, leader in manifest.following.items() if leader in axes]
    if "batch_size" in (*axes, *followers):
        raise SuiteError("what is lost shows at equal batch_size (of all ranks together): leave it out of `against`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """The three samples of one grid point, of the seeds that have a score in each."""

    local: pairing.Pairs  # the arm against what loses
    lost: pairing.Pairs  # one big batch against what loses
    joint: pairing.Pairs  # the arm against one big batch


def recoveries(claim: Claim, results: Results) -> list[Recovery]:
    """The pairs that a claim is about, at each of its grid points."""
    joint_at = {_point_key(p): p for p in claim_pairs(claim, results)}
    lost_at = {_point_key(p): p for p in claim_pairs(replace(claim, arm=claim.than), results, is_swapped=True)}
    points = []
    for local in claim_pairs(replace(claim, against={}), results):
        key = _point_key(local)
        if key in joint_at and key in lost_at:
            triple = (local, lost_at[key], joint_at[key])
            seeds = local.ours.units.index
            for pairs in triple[1:]:
                seeds = seeds.intersection(pairs.ours.units.index)
            local, lost, joint = (pairs.of_seeds(seeds) for pairs in triple)
            points.append(Recovery(local=local, lost=lost, joint=joint))
    return points


def _point_key(pairs: pairing.Pairs) -> tuple[Any, ...]:
    return tuple(pairs.point.items())


def compare_recovered(claim: Claim, results: Results, rng: np.random.Generator) -> list[Comparison]:
    """The share recovered, tested by gain - margin x loss, which is 0 where the share is the margin.

    There has to be a loss in most seeds: without one there is nothing to recover, and no word.
    """
    metric, comparisons = metrics_of(results.manifest)[f"{claim.metric} recovered"], []
    for recovery in recoveries(claim, results):
        gain, loss = recovery.local.differences, recovery.lost.differences
        comparison = compare_pairs(recovery.local, margin=claim.margin)
        comparison = with_sign_test(comparison, gain - claim.margin * loss, claim.margin, null=0.0)
        is_lost = float(stats.sign_test(loss).p_more)
        share = stats.recovered_fraction(0 * gain, gain, loss, rng, stats.expanded_percentiles(len(gain)))
        comparisons.append(
            replace(
                with_further_test(comparison, is_lost, is_lost),
                metric=metric.name,
                definition=metric,
                estimate=share.estimate,
                low=share.low,
                high=share.high,
                median=math.nan,  # it would be of the gain beyond the margin
                median_low=math.nan,
                median_high=math.nan,
                arm_measured=math.nan,  # these are no shares
                than_measured=math.nan,
            )
        )
    return comparisons


def compare_loss_and_joint(claim: Claim, results: Results, _rng: np.random.Generator) -> list[list[Comparison]]:
    """What is lost, and whether the arm equals one big batch."""
    points = recoveries(claim, results)
    lost = [compare_pairs(recovery.lost, margin=0.0) for recovery in points]
    joint = [compare_equivalence(recovery.joint, claim.within or 0.0, claim.tau) for recovery in points]
    return [
        [with_other_arm_words(comparison, claim, results, is_swapped=True) for comparison in lost],
        [with_other_arm_words(comparison, claim, results) for comparison in joint],
    ]


def recovers_statement(claim: Claim, manifest: Manifest) -> str:
    words = claim_words(claim, manifest, formatting.SHARE)
    return (
        f"{words.arm} recovers more than {words.margin} of the {words.metric} that {formatting.value(claim.than)} "
        f"loses against {words.than}{words.where}"
    )


RECOVERS = ClaimKind(
    check=check_recovers,
    margin_is_of_metric=False,
    arms_against=lambda claim: (claim.arm, claim.than),
    compare=compare_recovered,
    judge=judge_superiority,
    secondary_tests=compare_loss_and_joint,
    statement=recovers_statement,
    test="exact sign tests of the gain and of the loss",
    no_estimate="there is no loss to recover",
)
