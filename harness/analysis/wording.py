"""Claims and verdicts in plain English, generated from the numbers."""

import math
import re
from collections.abc import Sequence

from harness.analysis import formatting, stats
from harness.analysis.claims import KINDS
from harness.analysis.comparison import Comparison
from harness.analysis.judging import REFUTED, SUPPORTED, UNDECIDED, fails_more_often, is_held_back
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest

MAX_NAMED = 6  # grid points that a sentence names; the table has all of them
AGAINST_FIGURE = "{amount} with {arm} than {than} ({arm_mean} on average against {than_mean})"
FIELD = re.compile(r"\{(\w+)\}")


def statement(claim: Claim, manifest: Manifest) -> str:
    """The claim in words, with its margin."""
    return KINDS[claim.kind].statement(claim, manifest)


def _filled(pattern: str, **parts: str) -> str:
    """The pattern with its fields filled in, all at once: a part may hold anything."""
    return FIELD.sub(lambda match: parts.get(match[1], match[0]), pattern)


def effect_words(comparison: Comparison) -> str:
    """The mean difference: "test accuracy is 5.2 points higher with batch than with none (97.1 % ...)"."""
    c, metric = comparison, comparison.definition
    if math.isnan(c.estimate):
        return metric.template.replace("{difference}", f"unknown with {c.arm} and {c.than}")
    pattern = AGAINST_FIGURE if c.is_one_sample and not metric.unit.is_ratio else metric.difference
    difference = _filled(
        pattern,
        arm=c.arm,
        than=c.than,
        amount=formatting.difference(c.estimate, metric.direction, c.bound),
        arm_mean=_level(c.arm_mean, c),
        than_mean=_level(c.than_mean, c),
    )
    return metric.template.replace("{difference}", difference)


def _level(mean: float, c: Comparison) -> str:
    """The mean of an arm: of a fraction in per cent, which are no points."""
    unit = c.definition.unit
    return formatting.percent(mean) if unit is formatting.POINTS else formatting.format_value(mean, unit)


def mean_words(c: Comparison) -> str:
    """The mean difference with its interval, and that no word rests on it."""
    interval = ""
    if not math.isnan(c.low):
        interval = f", 95 % interval {formatting.differences(c.low, c.high, c.definition.direction)}"
    return f"As an estimate, on which no word rests: {effect_words(c)}{interval}.{_measured_words(c)}"


def median_words(c: Comparison) -> str:
    """The median of the differences with its exact interval; empty where there is none."""
    if math.isnan(c.median):
        return ""
    direction = c.definition.direction
    interval = "too few seeds for an interval"
    if not math.isnan(c.median_low):
        interval = f"95 % interval {formatting.differences(c.median_low, c.median_high, direction)}"
    return f" Median difference: {formatting.difference(c.median, direction, c.bound)} ({interval})."


def p_words(c: Comparison, test: str = "exact sign test", reference_test: str = "") -> str:
    """The test with its p in words, or why there is none."""
    if c.n < c.seeds_needed:
        return f"no test: a verdict needs {_seeds(c.seeds_needed, c)}"
    is_claim = bool(c.verdict)
    p = c.p if is_claim else c.p_adjusted
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


def finding(c: Comparison, *, test: str = "exact sign test", reference_test: str = "") -> str:
    """All that one grid point shows, as sentences: the count of seeds with its test, the median, the mean."""
    counted = equality_words(c) if c.is_equivalence else _lead_words(c)
    text = f"{counted} ({p_words(c, test, reference_test)}).{median_words(c)} {mean_words(c)}"
    if math.isnan(c.estimate):
        text = f"{effect_words(c)}; {p_words(c, test, reference_test)}."
    return f"at {c.point} {text}" if c.point else text


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
    limits = f"{kind.bounds(comparisons)}{_incomplete(comparisons, word)}"
    if not any(comparison.n for comparison in comparisons):
        return f"No pair of seeds has results in both arms yet.{_progress(comparisons)}{limits}"
    closest = _closest_call(comparisons, word)
    beside = [comparison for comparison in secondary if comparison.point == closest.point]
    text = finding(closest, test=kind.test, reference_test=kind.reference_test)
    if kind.no_estimate and math.isnan(closest.estimate):
        text = f"at {closest.point} {kind.no_estimate}." if closest.point else f"{kind.no_estimate}."
    tally = _tally(comparisons)
    parts = [
        tally + text if tally else _begun(text, closest),
        *(f" {_begun(finding(c), c)}" for c in beside),
        limits,
        _failures(comparisons, beside, compare),
        _progress(comparisons),
        "" if claim.metric == "step_time" else " Seeds vary all but the split of the data, which is one.",
    ]
    return "".join(parts)


def _begun(text: str, c: Comparison) -> str:
    """The text as a sentence begins; the name of an arm stays as it is."""
    return text if text.startswith((f"{c.arm} ", f"{c.than} ")) else formatting.capitalised(text)


def _closest_call(comparisons: Sequence[Comparison], word: str) -> Comparison:
    """The grid point that decides: of those with the claim's verdict the one nearest to another verdict."""
    tested = [c for c in comparisons if c.n]
    candidates = [c for c in tested if c.verdict == word] or tested

    def nearness(c: Comparison) -> tuple[float, float]:
        p = {SUPPORTED: -c.p_supporting, REFUTED: -c.p_refuting}.get(c.verdict, min(c.p_supporting, c.p_refuting))
        ends = [end for end in (c.low, c.high, c.estimate) if not math.isnan(end)]
        margins = (-c.margin, c.margin) if c.is_equivalence else (c.margin,)
        return p, min((abs(end - margin) for end in ends for margin in margins), default=math.inf)

    return min(candidates, key=nearness)


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


def _incomplete(comparisons: Sequence[Comparison], word: str) -> str:
    """Which results the comparisons could not use, and what keeps a verdict back."""
    text = ""
    if unpaired := sum(comparison.n_unpaired for comparison in comparisons):
        text += f" Unpaired and excluded: {formatting.count(unpaired, 'result')}."
    if missing := sum(comparison.n_missing for comparison in comparisons):
        text += f" Without a score: {formatting.count(missing, 'result')}, which could turn the verdict."
    held_back = [c for c in comparisons if is_held_back(c, c.verdict)]
    if word == UNDECIDED and held_back:
        absent = max(c.n_absent for c in held_back)
        text += (
            f" Without a result in one arm or both: {formatting.count(absent, 'seed')}, which could turn the verdict."
        )
    return text + "".join(_leads_and_fails(c) for c in comparisons if c.verdict == UNDECIDED and not c.is_equivalence)


def _leads_and_fails(c: Comparison) -> str:
    """That a lead is none because the arm fails to train where the other does not; empty where that is not so."""
    if not (c.p_supporting < c.level and fails_more_often(c)):
        return ""
    arm, alone = (c.arm, c.arm_alone) if c.definition.failed < 0 else (c.than, c.than_alone)
    where = f" at {c.point}" if c.point else ""
    return f" Undecided{where}, because {arm} alone failed to train in {alone} of {c.n} seeds."


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
    rates = [
        f"{failed} of {finished} {formatting.with_arm(name, compare)}" for name, (failed, finished) in counts.items()
    ]
    any_failed = any(failed for failed, _ in counts.values())
    return (
        f" Failed to train: {', '.join(rates)}{_counts_as(comparisons[0]) if any_failed else ''}.{_alone(comparisons)}"
    )


def _counts_as(c: Comparison) -> str:
    """What a failed trial counts as, in the test and in the mean."""
    policy = c.definition.policy.words
    is_ranked = c.definition.failed and not math.isnan(c.arm_failed_low)
    in_means = f"; a failed trial counts as {policy}"
    return f"; a failed run is the worse of its pair, and in means it counts as {policy}" if is_ranked else in_means


def _alone(comparisons: Sequence[Comparison]) -> str:
    """In how many seeds at most the arm fails alone; empty where failures have no part in the test."""
    ranked = [c for c in comparisons if c.n and c.definition.failed and not math.isnan(c.arm_failed_low)]
    if not ranked:
        return ""
    c = max(ranked, key=lambda c: c.arm_alone / c.n)
    most = formatting.number(math.ceil(100 * stats.most_alone(c.arm_alone, c.n)))
    return f" In at most {most} % of seeds {c.arm} alone fails (95 %)."


def _progress(comparisons: Sequence[Comparison]) -> str:
    finished = sum(c.arm_finished + c.than_finished for c in comparisons)
    trials = sum(c.arm_trials + c.than_trials for c in comparisons)
    return f" So far {finished} of {formatting.count(trials, 'trial')} have a result." if finished < trials else ""
