"""The figure of effects in words: its caption, what its marks stand for, and what it shows those who can't see it."""

from collections.abc import Sequence

from harness.analysis import formatting, pairing
from harness.analysis.comparison import Comparison
from harness.analysis.measures.measure import UNSCORED
from harness.analysis.metrics import smallest_effect
from harness.analysis.stats import ALPHA
from harness.reporting.figures.drawing import guess_words, up_is_better
from harness.reporting.figures.frame import ResultSlice

MAX_NAMED_IN_ALT = 8  # grid points
FAR = 20  # margins: differences beyond that leave no room for the margin's band on a linear axis
ENOUGH_SEEDS = 20  # for the interval of a mean over seeds of which some failed
USUAL = "usual point"


def nothing_trained(c: Comparison) -> bool:
    """Whether all trials of both arms failed: that they are equal says nothing of what they learn."""
    return bool(c.n) and c.arm_failed == c.arm_finished and c.than_failed == c.than_finished


def is_far(comparisons: Sequence[Comparison], margin: float) -> bool:
    """Whether differences are so large that the margin could not be seen beside them."""
    ends = [abs(end) for c in comparisons for end in (c.estimate, c.low, c.high)]
    return bool(margin) and any(end > FAR * margin for end in ends)


def is_doubtful(comparison: Comparison) -> bool:
    """Whether some seeds failed and some did not, and there are too few for the interval of their mean."""
    counts = (
        (comparison.arm_failed, comparison.arm_finished),
        (comparison.than_failed, comparison.than_finished),
    )
    return comparison.n < ENOUGH_SEEDS and any(0 < failed < finished for failed, finished in counts)


def band_of(data: ResultSlice) -> float:
    """Half the height of the grey band: the margin of the suite's equalities, else what is too small to count."""
    claimed = _claimed_margins(data)
    return claimed.pop() if len(claimed) == 1 else smallest_effect(data.trials, data.metric)


def _claimed_margins(data: ResultSlice) -> set[float]:
    claims = [declared.claim for declared in data.manifest.claims]
    return {claim.margin for claim in claims if claim.kind == "equivalent" and claim.metric == data.metric.name}


def effect_caption(data: ResultSlice, comparisons: Sequence[Comparison], *, is_ordered: bool) -> str:
    margin, scale = band_of(data), ""
    if is_far(comparisons, margin):
        scale = f", linear up to {formatting.amount(2 * margin, data.metric.unit)} and logarithmic beyond"
    mean = "line" if is_ordered else "diamond"
    beyond = "below" if data.metric.sign > 0 else "above"
    band = f" The grey band: less than {formatting.amount(margin, data.metric.unit)} apart." if margin else ""
    if len(_claimed_margins(data)) == 1:
        band = f" The grey band is the margin of {formatting.amount(margin, data.metric.unit)}."
    failed = (
        "a failed one is not drawn"
        if data.metric.policy is UNSCORED
        else f"a failed one a tick {beyond} the dotted line of {guess_words(data.metric)}"
    )
    return (
        f"Above, every seed is a dot, {failed}, and "
        f"the {mean} is their mean; below, the paired difference from {formatting.value(data.baseline)}"
        f"{up_is_better(data.metric)} ({_pair_counts(comparisons)}{scale}).{band}"
    )


def _pair_counts(comparisons: Sequence[Comparison]) -> str:
    n = [comparison.n for comparison in comparisons if comparison.n]
    if not n:
        return "no pairs"
    return f"n = {min(n)}{f' to {max(n)}' if max(n) > min(n) else ''} pairs of equal seed"


def tests_in_words(comparisons: Sequence[Comparison]) -> str:
    """What bars and markers stand for, as sentences."""
    tested = [comparison for comparison in comparisons if comparison.n >= comparison.seeds_needed]
    sentences = []
    if tested:
        family = formatting.count(len(comparisons), "comparison")
        sentences.append(f"Bars: 95 % t intervals; filled: p < .05 in the exact sign test after Holm over {family}.")
    if any(map(nothing_trained, comparisons)):
        sentences.append("Cross: in both arms all failed.")
    if len(tested) < len(comparisons):
        sentences.append("Too few seeds for a test: dots for the pairs, no interval, no p (descriptive).")
    if any(map(is_doubtful, tested)):
        sentences.append(
            f"Dotted bar: some seeds failed, others did not; with fewer than {ENOUGH_SEEDS} seeds such intervals are "
            "unreliable."
        )
    return " ".join(sentences)


def naming_words(usual: pairing.Point) -> str:
    return f" A grid point is named by what differs from the {USUAL}: {formatting.point(usual)}." if usual else ""


def alt_words(data: ResultSlice, comparisons: Sequence[Comparison]) -> str:
    decided = [comparison for comparison in comparisons if comparison.p_adjusted < ALPHA]
    better, worse = ([c for c in decided if (c.wins - c.losses) * sign > 0] for sign in (1, -1))
    outcome = (
        f"{_arms_in_words(better)} better and {_arms_in_words(worse)} worse" if decided else "no arm is better or worse"
    )
    return (
        f"Two stacked panels: {data.metric.words} of every seed by arm, and paired differences from "
        f"{formatting.value(data.baseline)}. After correction, {outcome}."
    )


def _arms_in_words(comparisons: Sequence[Comparison]) -> str:
    """Which arms, and at which grid points, with their verb."""
    names = [f"{c.arm} at {c.point}" if c.point else c.arm for c in comparisons[:MAX_NAMED_IN_ALT]]
    if len(comparisons) > MAX_NAMED_IN_ALT:
        names.append(f"{len(comparisons) - MAX_NAMED_IN_ALT} more")
    return f"{formatting.listing(names or ['no arm'])} {'is' if len(names) < 2 else 'are'}"
