"""Words on claims that were looked at more than once: each keeps the first that it gets, at the level of its look.

The rules are those of one look; what differs is the level. It is spent over the looks, and over the claims that have no
word yet (stats/looks.py), and stands in the comparisons: with as many seeds at a look as decide it, p is below `level`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from harness.analysis.claims import KINDS
from harness.analysis.comparison import Comparison, adjusted
from harness.analysis.judging import MIN_SEEDS, REFUTED, SUPPORTED, UNDECIDED, overall
from harness.analysis.looking.stages import Stage, at_look, stages_of
from harness.analysis.stats import ALPHA, upper_tail
from harness.analysis.stats.looks import counts_needed, level_at_look
from harness.spec.manifest import DeclaredClaim, early_claims
from harness.storage.tables import Results

ROUNDING = 1 + 1e-9  # a p at the level is below it


@dataclass(slots=True)
class Decision:
    """How the verdict on a claim came about: its word at each look, and the comparisons at the last of these."""

    declared: DeclaredClaim
    points: list[list[Comparison]] = field(default_factory=list)  # of each look
    seeds: list[int] = field(default_factory=list)  # of each look
    words: list[str] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return not self.words or self.words[-1] not in (SUPPORTED, REFUTED)


def decisions(results: Results, rng: np.random.Generator, undecidable: Collection[int] = ()) -> list[Decision]:
    """The decision on every claim, in their order; those in `undecidable` get no word whatever the numbers."""
    stages = stages_of(results.manifest)
    made = [Decision(declared) for declared in results.manifest.claims]
    never = {id(made[i]) for i in undecidable}
    withdrawn, claims = len(results.manifest.withdrawn), early_claims(results.manifest)
    for number in range(1, len(stages) + 1):
        stage = stages[number - 1]
        part = at_look(results, stage.seeds)
        looked_at = [decision for decision in made if decision.is_open]
        for decision in looked_at:
            claim = decision.declared.claim
            decision.points.append(KINDS[claim.kind].compare(claim, part, rng))
            decision.seeds.append(stage.seeds)
            decision.words.append(UNDECIDED)
        _look(looked_at, stages[:number], withdrawn, claims, never)
    return made


def _look(
    looked_at: Sequence[Decision], stages: Sequence[Stage], withdrawn: int, claims: int, never: Collection[int]
) -> None:
    """Give words to claims; each word that is given leaves more of the level to the claims without one.

    The half of an equality on failures has its share of the level over all `claims` whatever words there are.
    """
    while True:
        family = withdrawn + sum(one.is_open and not one.declared.declared_after for one in looked_at)
        decided = False
        for one in [one for one in looked_at if one.is_open]:
            is_late = one.declared.declared_after > 0
            one.comparisons = with_levels(one.points, stages, *((1, 1) if is_late else (family, claims)))
            judge = KINDS[one.declared.claim.kind].judge
            word = overall([judge(c) for c in one.comparisons])
            if word in (SUPPORTED, REFUTED) and (is_late or id(one) in never):
                word = UNDECIDED
            one.words[-1] = word
            decided |= not one.is_open
        if not decided:
            return


def with_levels(
    looks: Sequence[Sequence[Comparison]], stages: Sequence[Stage], family: int, claims: int
) -> list[Comparison]:
    """The points of a claim at the last look, each with its level there; `looks` has them at every look so far.

    `family` counts the claims that had no word yet, `claims` all of them.
    """
    spent = [stage.spent for stage in stages[-len(looks) :]]
    tested = [_with_level(column, spent, family, claims, len(looks[-1])) for column in _by_point(looks)]
    return [
        replace(
            c,
            failures_p_adjusted=holm.failures_p_adjusted,
            reference_p_adjusted=holm.reference_p_adjusted,
            seeds_needed=MIN_SEEDS,
        )
        for c, holm in zip(_with_p_of_claim(tested), adjusted(looks[-1]), strict=True)
    ]


def _by_point(looks: Sequence[Sequence[Comparison]]) -> list[list[Comparison]]:
    """Of each point at the last look its comparison at every look; one without an earlier one stands in for it."""
    earlier = [{c.point: c for c in points} for points in looks]
    return [[at_look.get(c.point, replace(c, n=0, ties=0)) for at_look in earlier] for c in looks[-1]]


def _with_level(
    column: Sequence[Comparison], spent: Sequence[float], family: int, claims: int, points: int
) -> Comparison:
    """The last comparison of a point with its level, and its p on one scale with that."""
    c, pairs, usable = column[-1], [one.n for one in column], [one.n - one.ties for one in column]
    level = _nominal(pairs if c.is_equivalence else usable, spent, family, is_two_sided=not c.is_equivalence)
    refuting = _nominal(usable, spent, family * points)
    supporting = (c.p_accuracy if c.is_equivalence else c.p_supporting) if level else 1.0
    level = level or ALPHA / family
    if c.is_equivalence and c.p_failures == c.p_failures:
        supporting = max(supporting, _rescaled(c.p_failures, level_at_look(spent, claims), level))
    return replace(
        c,
        level=level,
        p_supporting=supporting,
        p_refuting=_rescaled(c.p_refuting, refuting, level),
        family=family,
        points=points,
        p=c.p if c.n >= MIN_SEEDS else np.nan,
    )


def _nominal(usable: Sequence[int], spent: Sequence[float], claims: int, *, is_two_sided: bool = True) -> float:
    """The p of as many seeds as decide at the last look; 0 where none can."""
    at_every_look = [max(usable[: i + 1]) for i in range(len(usable))]  # seeds may be lost again, looks are not
    count = counts_needed(at_every_look, spent, claims, is_two_sided=is_two_sided)[-1]
    return (1 + is_two_sided) * float(upper_tail(np.asarray(count), np.asarray(usable[-1]))) * ROUNDING


def _rescaled(p: float, level: float, to: float) -> float:
    """A p that is below the one level exactly where this one is below the other."""
    return min(1.0, p * to / level) if level else 1.0


def _with_p_of_claim(points: Sequence[Comparison]) -> list[Comparison]:
    """The points with the p of the claim on the scale of alpha: it is below that where the claim is decided."""
    if not any(c.n >= MIN_SEEDS for c in points):
        return [replace(c, p_adjusted=np.nan) for c in points]
    supporting = max(_rescaled(c.p_supporting, c.level, ALPHA) for c in points)
    refuting = min(_rescaled(c.p_refuting, c.level, ALPHA) for c in points)
    return [replace(c, p_adjusted=min(supporting, refuting)) for c in points]
