"""What the verdicts come to in a few words each: the line of a claim, and that of each of its grid points."""

import math
from collections.abc import Sequence

from harness.analysis import formatting
from harness.analysis.comparison import Comparison, shared_direction
from harness.analysis.measures.measure import LEAD
from harness.analysis.verdicts import Verdict
from harness.spec.claim import Claim, as_list

NO_PAIRS = "no pair of seeds has results in both arms yet"
LEADS = LEAD.partition(" in ")[0]  # as the lead of a metric reads of which more or less is good


def is_variant(claim: Claim) -> bool:
    """Whether a claim compares an arm with itself at another grid point: with other settings."""
    return claim.arm == claim.than and bool(claim.against) and all(axis in claim.where for axis in claim.against)


def changed_words(claim: Claim) -> str:
    """What a variant changes, and to what: "norm eps 0.1"."""
    return ", ".join(f"{formatting.axis(axis)} {_values(claim.where[axis])}" for axis in claim.against)


def _values(wanted: object) -> str:
    return " and ".join(formatting.value(value) for value in as_list(wanted))


def judged_points(verdict: Verdict) -> list[Comparison]:
    """The comparisons at the grid points of a claim: those that have a part in its verdict."""
    return [comparison for comparison in verdict.comparisons if comparison.verdict]


def estimated_points(verdict: Verdict) -> list[Comparison]:
    """Those of them that have an estimate."""
    return [comparison for comparison in judged_points(verdict) if comparison.n and not math.isnan(comparison.estimate)]


def mixed_words(verdict: Verdict) -> str:
    """How many grid points have which word, "3 of 4 points supported, 1 refuted"; empty where all have that of all."""
    words = [comparison.verdict for comparison in judged_points(verdict)]
    if len(set(words)) < 2:
        return ""
    (first, count), *others = sorted(
        ((word, words.count(word)) for word in dict.fromkeys(words)), key=lambda pair: -pair[1]
    )
    return ", ".join([f"{count} of {len(words)} points {first}", *(f"{count} {word}" for word, count in others)])


def short_finding(verdict: Verdict) -> str:
    """One line on what the seeds show; over several grid points, from the least to the most of them."""
    points = [comparison for comparison in judged_points(verdict) if comparison.n]
    if not points:
        return NO_PAIRS
    if len(points) == 1:
        return point_finding(points[0])
    counts = [_agreeing(c) for c in points]
    seeds = formatting.count(max(c.n for c in points), "seed")
    in_seeds = f"{_range(counts)} of {seeds}"
    known = estimated_points(verdict)
    amounts = f"; {_differences(known)} on average" if known else ""
    return f"at {len(points)} points {_agreement(points[0])} in {in_seeds}{amounts}"


def point_finding(c: Comparison) -> str:
    """What one grid point shows: in how many seeds, and by how much on average."""
    if not c.n:
        return NO_PAIRS
    known = "" if c.estimate != c.estimate else f"{formatting.difference(c.estimate, c.direction, c.bound)} on average"
    noun = "measurement" if c.definition.name == "step_time" else "seed"
    text = f"{_agreement(c)} in {_agreeing(c)} of {formatting.count(c.n, noun)}"
    few = f"; a test needs {c.seeds_needed}" if c.n < c.seeds_needed else ""
    return f"{', '.join(filter(None, [text, known]))}{few}"


def _agreement(c: Comparison) -> str:
    """What is so in a seed that agrees with the claim."""
    margin = formatting.amount(c.margin, c.definition.unit)
    if c.is_equivalence:
        return f"within {margin}"
    if LEADS not in c.definition.lead:
        return "as claimed"
    return f"ahead by more than {margin}" if c.margin else "ahead"


def _agreeing(c: Comparison) -> int:
    """How many seeds agree; of an equality, in how many both trained and lie within the margin at both ends."""
    if not c.is_equivalence:
        return c.wins
    # A pair that trained lies within one end at least, and a pair of which any failed within none.
    failed = c.arm_alone + c.than_alone + c.ties if c.definition.failed else 0
    return max(0, c.below_upper + c.above_lower - (c.n - failed))


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _differences(points: Sequence[Comparison]) -> str:
    estimates = [c.estimate for c in points]
    bounds = {c.bound for c in points}
    bound = f"{bounds.pop()} " if len(bounds) == 1 and bounds <= {"at least", "at most"} else ""
    return bound + formatting.range_of(estimates, shared_direction(points))
