"""From a comparison to a verdict at one grid point: the rules that kinds of claims share."""

from harness.analysis.comparison import Comparison
from harness.analysis.stats import ALPHA

SUPPORTED, REFUTED, UNDECIDED, DESCRIPTIVE = VERDICTS = ("supported", "refuted", "undecided", "descriptive")


def judge_superiority(comparison: Comparison) -> str:
    """More than the margin: a lower bound of the difference can support it, an upper bound can refute it."""
    if comparison.n < comparison.seeds_needed:
        return DESCRIPTIVE
    if comparison.n_missing or not comparison.p_adjusted < ALPHA:
        return UNDECIDED
    if comparison.low > comparison.margin and comparison.bound in ("exact", "at least"):
        return SUPPORTED
    if comparison.high < comparison.margin and comparison.bound in ("exact", "at most"):
        return REFUTED
    return UNDECIDED


def judge_equivalence(comparison: Comparison) -> str:
    """Equal within the margin; whether arms that never trained at all are equally good is unknown."""
    if comparison.n < comparison.seeds_needed:
        return DESCRIPTIVE
    all_failed = comparison.arm_failed == comparison.arm_finished and comparison.than_failed == comparison.than_finished
    if comparison.n_missing or (all_failed and comparison.definition.is_directed):
        return UNDECIDED
    if comparison.equivalence_p_adjusted < ALPHA:
        return SUPPORTED
    outside = comparison.low > comparison.margin or comparison.high < -comparison.margin
    return REFUTED if outside and comparison.p_adjusted < ALPHA else UNDECIDED
