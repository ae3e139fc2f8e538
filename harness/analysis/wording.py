"""Claims and verdicts in plain English, generated from the numbers."""

import math
from collections.abc import Sequence

from harness.analysis import formatting
from harness.analysis.claims import KINDS
from harness.analysis.comparison import Comparison
from harness.analysis.judging import REFUTED
from harness.analysis.stats.paired import MOST_EXACT
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest

MAX_NAMED = 6  # grid points that a sentence names; the table has all of them
AGAINST_FIGURE = "{size} {direction} with {arm} than {than} ({arm_mean} on average against {than_mean})"


def statement(claim: Claim, manifest: Manifest) -> str:
    """The claim in words, with its margin."""
    return KINDS[claim.kind].statement(claim, manifest)


def effect_words(comparison: Comparison) -> str:
    """The estimate: "test accuracy is 5.2 points higher with batch than with none (97.1 against 91.9 on average)"."""
    metric = comparison.definition
    if math.isnan(comparison.estimate):
        return metric.template.replace("{difference}", f"unknown with {comparison.arm} and {comparison.than}")
    pattern = AGAINST_FIGURE if comparison.is_one_sample and not metric.unit.is_ratio else metric.difference
    difference = pattern.format(
        arm=comparison.arm,
        than=comparison.than,
        amount=formatting.amount(comparison.estimate, metric.unit),
        size=formatting.amount(abs(comparison.estimate), metric.unit),
        direction=metric.better if comparison.estimate >= 0 else metric.worse,
        bound=f"{comparison.bound} " if comparison.bound in ("at least", "at most") else "",
        arm_mean=formatting.format_value(comparison.arm_mean, metric.unit),
        than_mean=formatting.format_value(comparison.than_mean, metric.unit),
    )
    return metric.template.replace("{difference}", difference)


def interval_words(comparison: Comparison) -> str:
    """The interval and the number of pairs in words."""
    if math.isnan(comparison.low):
        return f"n = {comparison.n}, too few for an interval"
    ends = formatting.span(comparison.low, comparison.high, comparison.definition.unit)
    return f"95 % interval {ends}, n = {formatting.count(comparison.n, _unit_of_n(comparison))}"


def _unit_of_n(comparison: Comparison) -> str:
    """What n counts: against a published figure there is nothing to pair a seed with."""
    return "seed" if comparison.is_one_sample else "pair"


def p_words(comparison: Comparison, *, equivalence: bool, reference_test: str) -> str:
    """The test with its p in words, or why there is none."""
    if comparison.n < comparison.seeds_needed:
        return f"no test: a verdict needs {formatting.count(comparison.seeds_needed, _unit_of_n(comparison))}"
    correction = f" after Holm over {comparison.family}" if comparison.family > 1 else ""
    unit = comparison.definition.unit
    if equivalence:
        p = formatting.p_value(comparison.equivalence_p_adjusted)
        return f"two one-sided t tests within {formatting.amount(comparison.margin, unit)}: {p}{correction}"
    against = f" against {formatting.amount(comparison.null, unit)}" if comparison.null else ""
    text = f"sign-flip test{against}: {formatting.p_value(comparison.p_adjusted)}{correction}{_floor(comparison)}"
    if not math.isnan(comparison.reference_p_adjusted):
        text += f"; for reference, {reference_test} test: {formatting.p_value(comparison.reference_p_adjusted)}"
    return text


def _floor(comparison: Comparison) -> str:
    """That p could not be any smaller with so few pairs, where that is so."""
    if comparison.n > MOST_EXACT or comparison.p > comparison.p_floor:
        return ""
    return f" (the smallest that {formatting.count(comparison.n, _unit_of_n(comparison))} can give)"


def finding(comparison: Comparison, *, equivalence: bool, reference_test: str = "") -> str:
    """All that one grid point shows, as a sentence: effect, interval and test."""
    tested = p_words(comparison, equivalence=equivalence, reference_test=reference_test)
    text = f"{effect_words(comparison)}; {interval_words(comparison)}; {tested}.{_measured_words(comparison)}"
    return f"at {comparison.point} {text}" if comparison.point else text


def _measured_words(c: Comparison) -> str:
    """How many scores are no measurement, and what the means are without that; empty where all are as measured."""
    samples = [(c.arm, c.arm_replaced, c.arm_measured), (c.than, c.than_replaced, c.than_measured)]
    if not c.arm_replaced + c.than_replaced:
        return ""
    metric = c.definition
    counts = formatting.listing(f"{n} of {c.n} with {arm}" for arm, n, _ in samples if n)
    text = f" Of these scores {counts} were replaced by {metric.policy.words.partition(' (')[0]}"
    if any(math.isnan(mean) for _, _, mean in samples):
        return f"{text}."
    means = " against ".join(formatting.format_value(mean, metric.unit) for _, _, mean in samples)
    return f"{text}; as measured it is {means} on average."


def sentence(
    claim: Claim,
    comparisons: Sequence[Comparison],
    word: str,
    secondary: Sequence[Comparison] = (),
    *,
    compare: str = "norm",
) -> str:
    """The verdict with the numbers that it rests on, and all that limits it; `compare` is the axis of the arms."""
    kind = KINDS[claim.kind]
    limits = f"{kind.bounds(comparisons)}{_incomplete(comparisons)}"
    if not any(comparison.n for comparison in comparisons):
        return f"No pair of seeds has results in both arms yet.{_progress(comparisons)}{limits}"
    closest = _closest_call(comparisons, word, equivalence=kind.is_equivalence)
    beside = [comparison for comparison in secondary if comparison.point == closest.point]
    if kind.no_estimate and math.isnan(closest.estimate):
        text = f"at {closest.point} {kind.no_estimate}." if closest.point else f"{kind.no_estimate}."
    else:
        equivalence = kind.is_equivalence and closest.verdict != REFUTED
        text = finding(closest, equivalence=equivalence, reference_test=kind.reference_test)
    tally = _tally(comparisons)
    parts = [
        tally + text if tally else formatting.capitalised(text),
        *(f" {formatting.capitalised(finding(c, equivalence=bool(c.margin)))}" for c in beside),
        limits,
        _failures(comparisons, beside, compare),
        _progress(comparisons),
    ]
    return "".join(parts)


def _closest_call(comparisons: Sequence[Comparison], word: str, *, equivalence: bool) -> Comparison:
    """The grid point that decides: of those with the claim's verdict the one nearest to another verdict."""
    candidates = [c for c in comparisons if c.verdict == word and c.n] or [c for c in comparisons if c.n]
    estimated = [c for c in candidates if not math.isnan(c.estimate)] or candidates
    return min(estimated, key=lambda c: _distance_from_margin(c, equivalence=equivalence))


def _distance_from_margin(c: Comparison, *, equivalence: bool) -> float:
    """How near an end of the interval comes to the margin, or the estimate where there is no interval."""
    ends = (c.estimate,) if math.isnan(c.low) else (c.low, c.high)
    margins = (-c.margin, c.margin) if equivalence else (c.margin,)
    return min(abs(end - margin) for end in ends for margin in margins)


def _tally(comparisons: Sequence[Comparison]) -> str:
    """How many grid points have which verdict; empty where there is one point only."""
    if len(comparisons) == 1:
        return ""
    by_verdict: dict[str, list[str]] = {}
    for comparison in comparisons:
        by_verdict.setdefault(comparison.verdict, []).append(comparison.point)
    (word, points), *others = by_verdict.items()
    parts = [
        f"{formatting.capitalised(word)} at {len(points)} of {len(comparisons)} grid points ({_listed_points(points)})"
    ]
    parts += [f"{word} at {len(points)} ({_listed_points(points)})" for word, points in others]
    return f"{', '.join(parts)}. The closest call: "


def _listed_points(points: Sequence[str]) -> str:
    if len(points) <= MAX_NAMED:
        return "; ".join(points)
    return f"{'; '.join(points[:MAX_NAMED])} and {len(points) - MAX_NAMED} more"


def _incomplete(comparisons: Sequence[Comparison]) -> str:
    """Which results the comparisons could not use: unpaired scores, results without a score."""
    text = ""
    if unpaired := sum(comparison.n_unpaired for comparison in comparisons):
        text += f" Unpaired and excluded: {formatting.count(unpaired, 'result')}."
    if missing := sum(comparison.n_missing for comparison in comparisons):
        text += f" Without a score: {formatting.count(missing, 'result')}, which could turn the verdict."
    return text


def _failures(comparisons: Sequence[Comparison], secondary: Sequence[Comparison], compare: str) -> str:
    """How many trials failed to train in each arm that the sentence names, and what such a trial counts as."""
    counts: dict[str, tuple[int, int]] = {}  # arm -> trials that failed, trials that finished
    for group in (comparisons, secondary):
        ours = [(c.arm, c.arm_failed, c.arm_finished) for c in group]
        theirs = [(c.than, c.than_failed, c.than_finished) for c in group if not c.is_one_sample]
        for sample in (ours, theirs):
            for name in dict.fromkeys(arm for arm, _, _ in sample):
                failed = sum(n for arm, n, _ in sample if arm == name)
                finished = sum(n for arm, _, n in sample if arm == name)
                counts.setdefault(name, (failed, finished))
    policy = comparisons[0].definition.policy.words
    counted = f"; a failed trial counts as {policy}" if any(failed for failed, _ in counts.values()) else ""
    rates = [
        f"{failed} of {finished} {formatting.with_arm(name, compare)}" for name, (failed, finished) in counts.items()
    ]
    return f" Failed to train: {', '.join(rates)}{counted}."


def _progress(comparisons: Sequence[Comparison]) -> str:
    finished = sum(c.arm_finished + c.than_finished for c in comparisons)
    trials = sum(c.arm_trials + c.than_trials for c in comparisons)
    return f" So far {finished} of {formatting.count(trials, 'trial')} have a result." if finished < trials else ""
