"""What one comparison shows, in plain English: in how many seeds, by which test, by how much."""

import math
import re
from collections.abc import Sequence

from harness.analysis import formatting, stats
from harness.analysis.comparison import Comparison, shared_direction
from harness.analysis.judging import REFUTED, SUPPORTED, UNDECIDED

SIGN_TEST = "exact sign test"
AGAINST_FIGURE = "{amount} with {arm} than {than} ({arm_mean} on average against {than_mean})"
FIELD = re.compile(r"\{(\w+)\}")


def finding(c: Comparison, *, test: str = SIGN_TEST, reference_test: str = "") -> str:
    """All that one grid point shows, as sentences: the count of seeds with its test, the median, the mean."""
    counted = equality_words(c) if c.is_equivalence else _lead_words(c)
    text = f"{counted} ({p_words(c, test, reference_test)}).{median_words(c)} {mean_words(c)}"
    if math.isnan(c.estimate):
        text = f"{effect_words(c)}; {p_words(c, test, reference_test)}."
    return f"at {c.point} {text}" if c.point else text


def _filled(pattern: str, **parts: str) -> str:
    """The pattern with its fields filled in, all at once: a part may hold anything."""
    return FIELD.sub(lambda match: parts.get(match[1], match[0]), pattern)


def effect_words(comparison: Comparison) -> str:
    """The mean difference: "test accuracy is 5.2 points higher with batch than with none (97.1 % ...)"."""
    c, metric = comparison, comparison.definition
    if math.isnan(c.estimate):
        return metric.template.replace("{difference}", f"unknown with {c.arm} and {c.than}")
    difference = _filled(
        _pattern(c),
        arm=c.arm,
        than=c.than,
        amount=formatting.difference(c.estimate, c.direction, c.bound),
        arm_mean=_level(c.arm_mean, c),
        than_mean=_level(c.than_mean, c),
    )
    return metric.template.replace("{difference}", difference)


def sameness_words(c: Comparison) -> str:
    """An equality that holds: "test accuracy is the same within 1.0 points with batch as with none".

    Of one arm and a figure: "test accuracy is within 1.0 points of what is published (90.2 % ...)".
    """
    within = f"within {formatting.amount(c.margin, c.definition.unit)}"
    pattern = f"the same {within} with {{arm}} as with {{than}}"
    if c.is_one_sample:
        pattern = f"{within} of what is {{than}} ({{arm_mean}} on average against {{than_mean}})"
    means = {"arm_mean": _level(c.arm_mean, c), "than_mean": _level(c.than_mean, c)}
    return c.definition.template.replace("{difference}", _filled(pattern, arm=c.arm, than=c.than, **means))


def range_words(comparisons: Sequence[Comparison]) -> str:
    """The mean differences at several grid points: "a step takes 1.1 to 1.6 times as long with batch as with none"."""
    first, estimates = comparisons[0], [c.estimate for c in comparisons]
    amounts = formatting.range_of(estimates, shared_direction(comparisons))
    pattern, _, _ = _pattern(first).partition(" (")  # without the means of the arms
    difference = _filled(pattern, arm=first.arm, than=first.than, amount=amounts)
    return first.definition.template.replace("{difference}", difference)


def _pattern(c: Comparison) -> str:
    return AGAINST_FIGURE if c.is_one_sample and not c.definition.unit.is_ratio else c.definition.difference


def _level(mean: float, c: Comparison) -> str:
    """The mean of an arm: of a fraction in per cent, which are no points."""
    if c.definition.unit is formatting.POINTS:
        return formatting.percent(mean, c.unit.decimals or 0)
    return formatting.format_value(mean, c.unit)


def mean_words(c: Comparison) -> str:
    """The mean difference with its interval, and that no word rests on it."""
    interval = ""
    if not math.isnan(c.low):
        interval = f", 95 % interval {formatting.differences(c.low, c.high, c.direction)}"
    return f"As an estimate, on which no word rests: {effect_words(c)}{interval}.{_measured_words(c)}"


def median_words(c: Comparison) -> str:
    """The median of the differences with its exact interval; empty where there is none."""
    if math.isnan(c.median):
        return ""
    direction = c.definition.direction.fitted(c.median_low, c.median_high)
    interval = "too few seeds for an interval"
    if not math.isnan(c.median_low):
        interval = f"95 % interval {formatting.differences(c.median_low, c.median_high, direction)}"
    what = "ratio" if c.definition.unit.is_ratio else "difference"
    return f" Median {what}: {formatting.difference(c.median, direction, c.bound)} ({interval})."


def p_words(c: Comparison, test: str = SIGN_TEST, reference_test: str = "") -> str:
    """The test with its p in words, or why there is none."""
    if c.n < c.seeds_needed:
        return f"no test: a verdict needs {_seeds(c.seeds_needed, c)}"
    is_claim = bool(c.verdict)
    p = c.p if is_claim else c.p_adjusted
    if not math.isnan(c.tau) and c.p_supporting <= c.p_refuting:
        test = "exact tests of both halves"
    text = f"{test}: {formatting.p_value(p)}"
    if is_claim and (c.family > 1 or c.points > 1):
        over = f" over {formatting.count(c.points, 'grid point')}" if c.points > 1 else ""
        holm = f", Holm over {c.family} claims" if c.family > 1 else ""
        text += f"; of the claim{over}: {formatting.p_value(c.p_adjusted)}{holm}"
    elif c.family > 1:
        text += f" after Holm over {c.family}"
    if not math.isnan(c.reference_p_adjusted):
        text += f"; for reference, {reference_test} test: {formatting.p_value(c.reference_p_adjusted)}"
    return text


def _seeds(n: int, c: Comparison) -> str:
    """So many of what is counted: where times are measured, trials that trained together are one."""
    return formatting.count(n, "measurement" if c.definition.name == "step_time" else "seed")


def _lead_words(c: Comparison) -> str:
    """In how many seeds the arm leads by more than the margin, and in how many it does not."""
    metric, margin = c.definition, formatting.amount(c.margin, c.definition.unit)
    by = ""
    if c.margin and metric.unit.is_ratio:
        by = f" by a factor of more than {formatting.format_value(c.margin, metric.unit)}"
    elif c.margin:
        by = f" by more than {margin}"
    lead = _filled(metric.lead_of, arm=c.arm, than=c.than, by=by, margin=margin)
    others = [f"falls short of that in {c.losses}"] if c.losses else []
    others += [f"level in {c.ties}"] if c.ties else []
    return ", ".join([f"{lead} in {c.wins} of {_seeds(c.n, c)}", *others])


def equality_words(c: Comparison) -> str:
    """Both halves of an equality, or on which side of the margin most seeds lie."""
    margin = formatting.amount(c.margin, c.definition.unit)
    than = "the figure" if c.is_one_sample else c.than
    if c.verdict == REFUTED or (not c.verdict and c.p_refuting < c.p_supporting):
        side, n = ("above", c.wins) if c.wins >= c.losses else ("below", c.losses)
        return f"{c.arm} lies more than {margin} {_side(side, c)} {than} in {n} of {_seeds(c.n, c)}"
    if c.verdict == SUPPORTED:
        return _supported_equality(c, margin, than)
    text = (
        f"{c.arm} lies less than {margin} {_side('above', c)} {than} in {c.below_upper} and less than {margin} "
        f"{_side('below', c)} it in {c.above_lower} of {_seeds(c.n, c)}"
    )
    if math.isnan(c.tau):
        return text
    alone = f"{c.arm} alone failed in {c.arm_alone}" + (
        "" if c.is_one_sample else f", {c.than} alone in {c.than_alone}"
    )
    text += f"; {alone}, where less than {formatting.number(100 * c.tau)} % of seeds are allowed"
    if c.verdict == UNDECIDED and c.p_accuracy < c.level <= c.p_failures:
        needed = stats.seeds_for_failures(c.tau, c.family)
        text += (
            f". The half on {c.definition.words} holds, the half on failures is open: without a lone failure it takes "
            f"{needed} seeds"
        )
    return text


def _supported_equality(c: Comparison, margin: str, than: str) -> str:
    text = (
        f"in most seeds {c.arm} lies less than {margin} {_side('above', c)} {than} and in most less than {margin} "
        f"{_side('below', c)} it ({c.below_upper} and {c.above_lower} of {c.n})"
    )
    if math.isnan(c.tau):
        return text
    share = f"{formatting.number(100 * c.tau)} % of seeds"
    if c.is_one_sample:
        return f"{text}, and it trains: it fails in less than {share} ({c.arm_alone} of {c.n})"
    return (
        f"{text}, and both train: neither fails alone in more than {share} ({c.arm_alone} and {c.than_alone} of {c.n})"
    )


def _side(side: str, c: Comparison) -> str:
    """Above or below in the metric, whose differences are positive where the arm does better."""
    return side if c.definition.sign > 0 else {"above": "below", "below": "above"}[side]


def _measured_words(c: Comparison) -> str:
    """How many scores are no measurement, and what the means are without that; empty where all are as measured."""
    samples = [(c.arm, c.arm_replaced, c.arm_measured), (c.than, c.than_replaced, c.than_measured)]
    if not c.arm_replaced + c.than_replaced:
        return ""
    counts = formatting.listing(f"{n} of {c.n} with {arm}" for arm, n, _ in samples if n)
    text = f" Of these scores {counts} were replaced by {c.definition.policy.words.partition(' (')[0]}"
    if any(math.isnan(mean) for _, _, mean in samples):
        return f"{text}."
    means = " against ".join(_level(mean, c) for _, _, mean in samples)
    return f"{text}; as measured it is {means} on average."
