"""From declared claims to verdicts.

How each kind of claim is tested and judged stands in its file in claims/. A verdict is one of

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

from dataclasses import dataclass, replace

import numpy as np

from harness.analysis import pairing
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


def verdicts(results: Results, rng: np.random.Generator) -> list[Verdict]:
    """The verdict on every claim of the suite, in their order."""
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
    word = _overall([comparison.verdict for comparison in judged])
    return Verdict(
        claim=claim,
        statement=statement(claim, results.manifest),
        word=word,
        sentence=sentence(claim, judged, word, secondary, compare=results.manifest.compare),
        comparisons=(*judged, *secondary),
        declared_after=declared.declared_after,
    )


def _overall(words: list[str]) -> str:
    """The verdict on a claim from those at its grid points."""
    if REFUTED in words:
        return REFUTED
    if set(words) <= {DESCRIPTIVE}:
        return DESCRIPTIVE
    return SUPPORTED if set(words) == {SUPPORTED} else UNDECIDED
