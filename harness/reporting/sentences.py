"""Claims and verdicts in plain English, generated from the numbers."""

import math
from collections.abc import Sequence
from typing import Any

from harness.claim import Claim
from harness.reporting import words
from harness.reporting.comparison import Comparison
from harness.reporting.metrics import METRICS

MOST_NAMED = 6  # grid points that a sentence names; the table has all of them


STATEMENTS = {  # kind of claim -> the claim in words
    "better": "{arm} has a {direction} {metric} than {than}{by_more}{where}",
    "equivalent": "{arm} and {than} have the same {metric}, but for {margin}{where}",
    "wider_lr_range": "{arm} reaches {target} over a wider range of learning rates than {than}{by_more}{where}",
    "sooner": "{arm} reaches {target} sooner than {than}{by_more}{where}",
    "costs": "a step of {arm} takes less than {margin} as long as one of {than}{where}",
}


def statement(claim: Claim, target_accuracy: float | None) -> str:
    """The claim in words, with its margin."""
    metric = METRICS["lr_decades" if claim.kind == "wider_lr_range" else claim.metric]
    margin = words.amount(-math.log(claim.margin) if metric.unit.is_ratio else claim.margin, metric.unit)
    return STATEMENTS[claim.kind].format(
        arm=claim.arm,
        than=claim.than,
        metric=metric.words,
        direction=metric.better,
        margin=margin,
        by_more=f", by more than {margin}" if claim.margin else "",
        where="".join(f", at {axis.replace('_', ' ')} {_listed(wanted)}" for axis, wanted in claim.where.items()),
        target=words.percent(target_accuracy or math.nan),
    )


def _listed(wanted: Any) -> str:
    return words.listing(words.value(value) for value in (wanted if isinstance(wanted, list | tuple) else [wanted]))


def effect(comparison: Comparison) -> str:
    """The estimate: "test accuracy is 5.2 points higher with batch than with none (97.1 against 91.9 on average)"."""
    metric = METRICS[comparison.metric]
    bound = f"{comparison.bound} " if comparison.bound in ("at least", "at most") else ""
    if metric.unit.is_ratio:
        ratio = words.amount(comparison.estimate, metric.unit)
        means = " against ".join(words.bare(mean, metric.unit) for mean in (comparison.arm_mean, comparison.than_mean))
        return f"{metric.says} {ratio} as long with {comparison.arm} as with {comparison.than} ({means} ms)"
    size = words.amount(abs(comparison.estimate), metric.unit)
    direction = metric.better if comparison.estimate >= 0 else metric.worse
    ours, theirs = (words.bare(mean, metric.unit) for mean in (comparison.arm_mean, comparison.than_mean))
    return (
        f"{metric.says} {bound}{size} {direction} with {comparison.arm} than with {comparison.than}"
        f" ({ours} against {theirs} on average)"
    )


def interval(comparison: Comparison) -> str:
    """The interval and the number of pairs in words."""
    if math.isnan(comparison.low):
        return f"n = {comparison.n}, too few for an interval"
    ends = words.span(comparison.low, comparison.high, METRICS[comparison.metric].unit)
    return f"95 % interval {ends}, n = {words.count(comparison.n, 'pair')}"


def test(comparison: Comparison, *, equivalence: bool) -> str:
    """The test with its p in words, or why there is none."""
    if comparison.n < comparison.seeds_needed:
        return f"no test: a verdict needs {words.count(comparison.seeds_needed, 'pair')}"
    correction = f" after Holm over {comparison.family}" if comparison.family > 1 else ""
    unit = METRICS[comparison.metric].unit
    if equivalence:
        p = words.p_value(comparison.equivalence_p_adjusted)
        return f"two one-sided t tests within {words.amount(comparison.margin, unit)}: {p}{correction}"
    against = f" against {words.amount(comparison.null, unit)}" if comparison.null else ""
    p, floor = words.p_value(comparison.p_adjusted), words.number(comparison.p_floor)
    return f"sign-flip test{against}: {p}{correction}, {floor} being the smallest possible"


def finding(comparison: Comparison, *, equivalence: bool) -> str:
    """Everything that one grid point says, as a sentence."""
    says = f"{effect(comparison)}; {interval(comparison)}; {test(comparison, equivalence=equivalence)}."
    return f"at {comparison.point} {says}" if comparison.point else says


def sentence(claim: Claim, comparisons: Sequence[Comparison], word: str) -> str:
    """The verdict with the numbers that it rests on, and all that limits it."""
    if not any(comparison.n for comparison in comparisons):
        return f"No pair of seeds has results in both arms yet.{_progress(comparisons)}"
    telling = _most_telling(comparisons, word)
    says = finding(telling, equivalence=claim.kind == "equivalent" and telling.verdict != "refuted")
    tally = _tally(comparisons)
    says = tally + says if tally else says[0].upper() + says[1:]
    return f"{says}{_limits(comparisons)}{_failures(claim, comparisons)}{_progress(comparisons)}"


def _most_telling(comparisons: Sequence[Comparison], word: str) -> Comparison:
    """The grid point that decides: of those with the claim's verdict the one nearest to another verdict."""
    alike = [c for c in comparisons if c.verdict == word and c.n] or [c for c in comparisons if c.n]
    return max(alike, key=lambda c: c.estimate) if word == "refuted" else min(alike, key=lambda c: c.estimate)


def _tally(comparisons: Sequence[Comparison]) -> str:
    if len(comparisons) == 1:
        return ""
    by_verdict: dict[str, list[str]] = {}
    for comparison in comparisons:
        by_verdict.setdefault(comparison.verdict, []).append(comparison.point)
    parts = [
        f"{verdict} at {len(points)} of {len(comparisons)}: {_named(points)}" for verdict, points in by_verdict.items()
    ]
    return f"Grid points: {'. '.join(parts)}. The closest call: "


def _named(points: Sequence[str]) -> str:
    if len(points) <= MOST_NAMED:
        return "; ".join(points)
    return f"{'; '.join(points[:MOST_NAMED])} and {len(points) - MOST_NAMED} more"


def _limits(comparisons: Sequence[Comparison]) -> str:
    """What the comparison could not see: ranges beyond the grid, scores without a partner."""
    bounds = {comparison.bound for comparison in comparisons}
    beyond = " goes on beyond the learning rates tried"
    text = ""
    if bounds & {"at most", "unknown"}:
        text += f" The range of {comparisons[0].than}{beyond}: only a wider grid can show it."
    elif "at least" in bounds:
        text += f" The range of {comparisons[0].arm}{beyond}: the true difference is larger."
    if unpaired := sum(comparison.unpaired for comparison in comparisons):
        text += f" Left out for want of a partner: {words.count(unpaired, 'result')}."
    return text


def _failures(claim: Claim, comparisons: Sequence[Comparison]) -> str:
    ours = sum(c.arm_failed for c in comparisons), sum(c.arm_finished for c in comparisons)
    theirs = sum(c.than_failed for c in comparisons), sum(c.than_finished for c in comparisons)
    counted = f"; a failed trial counts as {METRICS[claim.metric].policy.words}" if ours[0] or theirs[0] else ""
    return f" Failed to train: {claim.arm} {ours[0]} of {ours[1]}, {claim.than} {theirs[0]} of {theirs[1]}{counted}."


def _progress(comparisons: Sequence[Comparison]) -> str:
    finished = sum(c.arm_finished + c.than_finished for c in comparisons)
    trials = sum(c.arm_trials + c.than_trials for c in comparisons)
    return f" So far {finished} of {words.count(trials, 'trial')} have a result." if finished < trials else ""
