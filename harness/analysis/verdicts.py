"""Claims into verdicts: what the data say of what a suite declared.

How each kind is put to the test stands in kinds.py. A verdict is one of

supported    the claim holds at every grid point that it covers
refuted      the opposite of the claim holds at one of these points at least
undecided    neither: the interval covers the margin, the test does not exclude chance, the grid is too short to see
             an edge or an optimum, or a result has no score
descriptive  too few seeds for any test to decide; no p is given

A claim "more than a margin" is supported at a point where the 95 % interval of the paired difference lies wholly above
the margin, and refuted where it lies wholly below, in both cases only if the sign-flip test of the difference
against the margin passes Holm's correction over the points of the claim. A claim "equal within a margin" is supported
where two one-sided t tests pass that correction, and refuted where the interval lies wholly outside of the margin and
the sign-flip test against the nearer end of the margin passes.

Most claims are about the paired difference at each point. A trend is about per-seed slopes of it, best_tuned about
cross-fitted scores with a bootstrap interval, recovers about a ratio: its interval is a bootstrap, and its test that of
gain - margin x loss, a mean of differences like any other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from harness.analysis import pairing
from harness.analysis.claims import DESCRIPTIVE, KINDS, REFUTED, SUPPORTED, UNDECIDED, other_arm
from harness.analysis.comparison import Comparison, adjusted
from harness.analysis.validation import validate_claim
from harness.analysis.wording import sentence, statement
from harness.errors import SuiteError
from harness.spec.claim import Claim
from harness.spec.manifest import DeclaredClaim, Manifest
from harness.storage.tables import Results


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the data say of one claim."""

    claim: Claim
    statement: str  # the claim in words
    word: str
    sentence: str
    comparisons: tuple[Comparison, ...]  # one for each grid point
    declared_after: int  # trials that had results when the claim was first declared


def check(claims: Iterable[Claim], manifest: Manifest) -> None:
    """Refuse claims that the suite can't answer, before anything is trained."""
    for number, claim in enumerate(claims, start=1):
        try:
            validate_claim(claim, manifest)
        except SuiteError as error:
            raise SuiteError(f"claim {number} ({claim.kind}): {error}") from None


def verdicts(results: Results, rng: np.random.Generator) -> list[Verdict]:
    """The verdict on every claim of the suite, in their order."""
    results, found = pairing.named_arms(results), []
    for number, declared in enumerate(results.manifest.claims, start=1):
        check([declared.claim], results.manifest)
        found.append(_verdict(declared, f"claim {number}", results, rng))
    return found


def _verdict(declared: DeclaredClaim, name: str, results: Results, rng: np.random.Generator) -> Verdict:
    claim, kind = declared.claim, KINDS[declared.claim.kind]
    judged = [replace(c, shown_in=name, verdict=kind.judge(c)) for c in adjusted(kind.compare(claim, results, rng))]
    families = kind.secondary_tests(claim, results, rng) if kind.secondary_tests else []
    beside = [replace(c, shown_in=name) for family in families for c in adjusted(family)]
    word = _overall([comparison.verdict for comparison in judged])
    return Verdict(
        claim=claim,
        statement=statement(claim, results.manifest),
        word=word,
        sentence=sentence(claim, judged, word, beside),
        comparisons=(*judged, *beside),
        declared_after=declared.declared_after,
    )


def _overall(found: list[str]) -> str:
    if REFUTED in found:
        return REFUTED
    if set(found) <= {DESCRIPTIVE}:
        return DESCRIPTIVE
    return SUPPORTED if set(found) == {SUPPORTED} else UNDECIDED


def comparisons_of(claim: Claim, manifest: Manifest) -> int:
    """How many comparisons the verdict on a claim rests on: as many as it covers grid points."""
    within = ["lr"] if KINDS[claim.kind].over_lr else [claim.along] if claim.along else []
    axes = pairing.axes(manifest, *within)
    wanted = {axis: value if isinstance(value, list | tuple) else [value] for axis, value in claim.where.items()}
    points = product(*(wanted.get(axis, pairing.values(manifest, axis)) for axis in axes))
    than, there = other_arm(claim, manifest)
    is_itself = than == (claim.than if claim.kind == "recovers" else claim.arm)
    return sum(not (is_itself and there and _is_at(dict(zip(axes, point, strict=True)), there)) for point in points)


def _is_at(point: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    return all(point.get(axis) == value for axis, value in there.items())
