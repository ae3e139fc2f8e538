"""From declared claims to verdicts.

How each kind of claim is tested and judged stands in its file in claims/. A verdict is one of

supported    the claim holds at every grid point that it covers
refuted      the opposite of the claim holds at one of these points at least
undecided    neither: the interval covers the margin, the test does not exclude chance, the grid is too short to see
             an edge or an optimum, or a result has no score
descriptive  too few seeds for any test to decide; no p is given

No verdict rests on arms that are one: where all trials of both are equal to the bit, at every point and seed of the
suite, it is undecided, whatever the numbers. What sets the arms apart did not reach the training. Arms that differ at
some points may be equal at others, which can be what is claimed; and along axes that say how a trial is computed and
not what is learnt (COMPUTE_AXES), equal trials are a result like any other.

A claim "more than a margin" is supported at a point where the 95 % interval of the paired difference lies wholly above
the margin, and refuted where it lies wholly below, in both cases only if the sign-flip test of the difference
against the margin passes Holm's correction over the points of the claim. A claim "equal within a margin" is supported
where two one-sided t tests pass that correction, and refuted where the interval lies wholly outside of the margin and
the sign-flip test against the nearer end of the margin passes.

Most claims are about the paired difference at each point. A trend is about per-seed slopes of it, best_tuned about
cross-fitted scores with a bootstrap interval, recovers about a ratio: its interval is a bootstrap, and its test that of
gain - margin x loss, a mean of differences like any other.
"""

from dataclasses import dataclass, replace

import numpy as np

from harness.analysis import formatting, pairing
from harness.analysis.claim_pairs import other_arm, other_arm_words
from harness.analysis.claims import KINDS
from harness.analysis.comparison import Comparison, adjusted
from harness.analysis.judging import DESCRIPTIVE, REFUTED, SUPPORTED, UNDECIDED
from harness.analysis.validation import check_claims
from harness.analysis.wording import sentence, statement
from harness.spec.claim import Claim
from harness.spec.manifest import DeclaredClaim
from harness.storage.tables import Results


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict on one claim, in words and in numbers."""

    claim: Claim
    statement: str  # the claim in words
    word: str
    sentence: str
    comparisons: tuple[Comparison, ...]  # one for each grid point
    declared_after: int  # trials that had results when the claim was first declared
    of_equal_arms: bool = False  # whether its arms are one: no verdict rests on them


def verdicts(results: Results, rng: np.random.Generator | None = None) -> list[Verdict]:
    """The verdict on every claim of the suite, in their order.

    `rng` draws the signs of sign-flip tests above 20 seeds: the same every time unless it is given.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    results, judged = pairing.named_arms(results), []
    for number, declared in enumerate(results.manifest.claims, start=1):
        check_claims([declared.claim], results.manifest)
        judged.append(_verdict(declared, f"claim {number}", results, rng))
    return judged


def _verdict(declared: DeclaredClaim, name: str, results: Results, rng: np.random.Generator) -> Verdict:
    claim, kind = declared.claim, KINDS[declared.claim.kind]
    judged = [replace(c, shown_in=name, verdict=kind.judge(c)) for c in adjusted(kind.compare(claim, results, rng))]
    families = kind.secondary_tests(claim, results, rng)
    secondary = [replace(c, shown_in=name) for family in families for c in adjusted(family)]
    is_equal = has_equal_arms(claim, results)
    if is_equal:
        judged = [replace(comparison, verdict=UNDECIDED) for comparison in judged]
    word = _overall([comparison.verdict for comparison in judged])
    words = sentence(claim, judged, word, secondary, compare=results.manifest.compare)
    return Verdict(
        claim=claim,
        statement=statement(claim, results.manifest),
        word=word,
        sentence=f"{_equal_arms_words(claim, results)} {words}" if is_equal else words,
        comparisons=(*judged, *secondary),
        declared_after=declared.declared_after,
        of_equal_arms=is_equal,
    )


def has_equal_arms(claim: Claim, results: Results) -> bool:
    """Whether the arms that a claim compares are equal to the bit at all points, and should have learnt otherwise."""
    if KINDS[claim.kind].is_one_sample:
        return False
    compare = results.manifest.compare
    than, other_point = other_arm(claim, results.manifest)
    pairs = {(than, tuple(other_point.items()))}
    if claim.than is not None:  # what `recovers` compares at the same point
        pairs.add((claim.than, ()))
    where = {axis: claim.where[axis] for axis in claim.where if axis in other_point}
    return any(
        pairing.arms_are_equal(results, claim.arm, other, where, dict(point))
        for other, point in pairs
        if (differing := {*dict(point), *([compare] if other != claim.arm else [])})
        and not differing & pairing.COMPUTE_AXES
    )


def _equal_arms_words(claim: Claim, results: Results) -> str:
    than = other_arm_words(claim, results.manifest)
    return (
        f"Nothing was compared: the trials of {formatting.value(claim.arm)} and {than} are equal to the bit, at every "
        "point and seed, so what sets these arms apart has not reached the training."
    )


def _overall(words: list[str]) -> str:
    """The verdict on a claim from those at its grid points."""
    if REFUTED in words:
        return REFUTED
    if set(words) <= {DESCRIPTIVE}:
        return DESCRIPTIVE
    return SUPPORTED if set(words) == {SUPPORTED} else UNDECIDED
