"""Claims before anything is trained: which a suite can answer, and how many comparisons each takes."""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from harness.analysis import pairing
from harness.analysis.claim_checks import check_arms, check_margin_unit, check_where, covered_values, margin_doubt
from harness.analysis.claim_pairs import other_arm
from harness.analysis.claims import KINDS
from harness.errors import SuiteError, lookup
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest


def check_claims(claims: Iterable[Claim], manifest: Manifest) -> None:
    """Raise SuiteError for a claim that the suite can't answer, before anything is trained."""
    for number, claim in enumerate(claims, start=1):
        try:
            validate_claim(claim, manifest)
        except SuiteError as error:
            raise SuiteError(f"claim {number} ({claim.kind}): {error}") from None


def validate_claim(claim: Claim, manifest: Manifest) -> None:
    """Raise SuiteError where the suite, as suite.json holds it, can't answer the claim."""
    kind = lookup(KINDS, claim.kind, "kind of claim")
    check_arms(claim, manifest, is_one_sample=kind.is_one_sample)
    check_where(claim, manifest)
    kind.check(claim, manifest)
    if kind.margin_is_of_metric or claim.within is not None:
        check_margin_unit(claim, manifest)


def doubts(claims: Iterable[Claim], manifest: Manifest) -> Iterator[str]:
    """What looks wrong in claims that can be answered, a sentence each."""
    for number, claim in enumerate(claims, start=1):
        is_of_metric = KINDS[claim.kind].margin_is_of_metric or claim.within is not None
        if is_of_metric and (doubt := margin_doubt(claim, manifest)):
            yield f"claim {number} ({claim.kind}): {doubt}"


def comparisons_of(claim: Claim, manifest: Manifest) -> int:
    """How many comparisons the verdict on a claim rests on: as many as it covers grid points."""
    kind = KINDS[claim.kind]
    axes = pairing.axes(manifest, *kind.collapsed_axes(claim))
    points = product(*(covered_values(claim, axis, manifest) for axis in axes))
    than, other_point = other_arm(claim, manifest)
    if not other_point or than not in kind.arms_against(claim):
        return sum(1 for _ in points)
    # An arm is not compared with itself at the same point.
    return sum(not _is_at(dict(zip(axes, point, strict=True)), other_point) for point in points)


def figure_comparisons(manifest: Manifest) -> int:
    """How many comparisons a figure of effects tests at once: each other arm with the baseline, at its grid points."""
    over = ["lr"] if "lr" in manifest.axes and manifest.compare != "lr" else pairing.axes(manifest)
    points = math.prod(len(pairing.values(manifest, axis)) for axis in over)
    return (len(pairing.arms(manifest)) - 1) * points


def _is_at(point: Mapping[str, Any], other_point: Mapping[str, Any]) -> bool:
    return all(point.get(axis) == value for axis, value in other_point.items())
