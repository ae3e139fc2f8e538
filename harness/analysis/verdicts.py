"""From declared claims to verdicts, by the rules that docs/statistics.md gives.

A verdict is one of

supported    the claim holds in most seeds at every grid point that it covers
refuted      it fails in most seeds at one of these points at least
undecided    neither: seeds disagree or are too few, the grid is too short to see an edge or an optimum, or a result is
             missing that could turn the verdict
descriptive  too few seeds for any test to decide; no p is given
exploratory  the claim was declared when results were known already: a question for new seeds, whatever the numbers say

The exact sign test carries the word (stats/sign_test.py); means and their intervals are shown beside it, and no word
rests on them. Holm's correction is over all claims that were declared before the first result, those too that the suite
has withdrawn since.

No verdict rests on arms that are one: where all trials of both are equal to the bit, at every point and seed of the
suite, it is undecided, whatever the numbers. What sets the arms apart did not reach the training. Arms that differ at
some points may be equal at others, which can be what is claimed; and along axes that say how a trial is computed and
not what is learnt (COMPUTE_AXES), equal trials are a result like any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.analysis import formatting, pairing, stats
from harness.analysis.claim_pairs import other_arm, other_arm_words
from harness.analysis.claims import KINDS
from harness.analysis.comparison import Comparison, adjusted
from harness.analysis.judging import EXPLORATORY, MIN_SEEDS, UNDECIDED, claim_p, overall
from harness.analysis.looking.decisions import decisions
from harness.analysis.looking.stages import at_look
from harness.analysis.looking.words import looks_words
from harness.analysis.stats import ALPHA
from harness.analysis.validation import check_claims
from harness.analysis.wording import sentence, statement
from harness.spec.claim import Claim
from harness.spec.manifest import DeclaredClaim, is_own
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
    looks: tuple[tuple[int, str], ...] = ()  # seeds and word of each look, where there was more than one


def verdicts(results: Results, rng: np.random.Generator | None = None) -> list[Verdict]:
    """The verdict on every claim of the suite, in their order.

    `rng` draws the signs of sign-flip tests above 20 seeds: the same every time unless it is given.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    results = pairing.as_planned(results)
    declared = results.manifest.claims
    check_claims([one.claim for one in declared], results.manifest)
    if results.manifest.looks or results.manifest.max_seeds:
        return _over_looks(results, rng)
    tested = [KINDS[one.claim.kind].compare(one.claim, results, rng) for one in declared]
    corrected = over_claims(declared, tested, withdrawn=len(results.manifest.withdrawn))
    return [
        _verdict(one, f"claim {number}", points, results, rng)
        for number, (one, points) in enumerate(zip(declared, corrected, strict=True), start=1)
    ]


def _over_looks(results: Results, rng: np.random.Generator) -> list[Verdict]:
    """The verdicts where they were looked at before, or will be again: each is that of the look that gave its word."""
    declared = results.manifest.claims
    equal = {i for i, one in enumerate(declared) if has_equal_arms(one.claim, results)}
    judged = []
    for number, one in enumerate(decisions(results, rng, equal), start=1):
        part = at_look(results, one.seeds[-1])
        verdict = _verdict(one.declared, f"claim {number}", one.comparisons, part, rng)
        words = [EXPLORATORY if verdict.declared_after else word for word in one.words[:-1]]
        path = tuple(zip(one.seeds, [*words, verdict.word], strict=True))
        judged.append(replace(verdict, looks=path, sentence=f"{looks_words(path)}{verdict.sentence}"))
    return judged


def over_claims(
    declared: Sequence[DeclaredClaim], tested: Sequence[Sequence[Comparison]], *, withdrawn: int = 0
) -> list[list[Comparison]]:
    """The comparisons of each claim with its p over all points, corrected by Holm over the claims of the suite.

    A claim that has no p, or was withdrawn, counts with a p of 1. One that was declared late is no part of the family:
    it keeps its own p.
    """
    p = np.array([claim_p(points) for points in tested])
    is_early = np.array([one.declared_after == 0 for one in declared], dtype=bool)
    corrected = p.copy()
    counted = np.concatenate([np.where(np.isnan(p[is_early]), 1.0, p[is_early]), np.ones(withdrawn)])
    corrected[is_early] = np.where(np.isnan(p[is_early]), np.nan, stats.holm(counted)[: is_early.sum()])
    sizes = np.where(is_early, len(counted), 1)
    return [
        _with_correction(points, *numbers)
        for points, *numbers in zip(tested, p.tolist(), corrected.tolist(), sizes.tolist(), strict=True)
    ]


def _with_correction(points: Sequence[Comparison], p: float, p_adjusted: float, family: int) -> list[Comparison]:
    """The points of a claim, each with the level at which its part of the claim's p decides."""
    return [
        replace(
            c,
            p=tested.p if c.n >= MIN_SEEDS else np.nan,
            p_refuting=min(1.0, len(points) * c.p_refuting),
            points=len(points),
            family=family,
            seeds_needed=MIN_SEEDS,
            level=ALPHA / family if np.isnan(p) else ALPHA * p / p_adjusted,
            p_adjusted=p_adjusted,
        )
        for c, tested in zip(adjusted(points), points, strict=True)
    ]


def _verdict(
    declared: DeclaredClaim, name: str, points: Sequence[Comparison], results: Results, rng: np.random.Generator
) -> Verdict:
    claim, kind = declared.claim, KINDS[declared.claim.kind]
    judged = [replace(c, shown_in=name, verdict=kind.judge(c)) for c in points]
    families = kind.secondary_tests(claim, results, rng)
    secondary = [replace(c, shown_in=name) for family in families for c in adjusted(family)]
    is_equal = has_equal_arms(claim, results)
    if is_equal:
        judged = [replace(comparison, verdict=UNDECIDED) for comparison in judged]
    if declared.declared_after:
        judged = [replace(comparison, verdict=EXPLORATORY) for comparison in judged]
    word = EXPLORATORY if declared.declared_after else overall([comparison.verdict for comparison in judged])
    manifest = results.manifest
    words = sentence(claim, judged, word, secondary, compare=manifest.compare, is_one_split=not is_own(manifest))
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
