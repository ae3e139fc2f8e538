"""Claims and verdicts in plain English, generated from the numbers."""

import math
from collections.abc import Sequence
from typing import Any

from harness.analysis import formatting
from harness.analysis.claims import elsewhere
from harness.analysis.comparison import Comparison
from harness.analysis.curve_metrics import with_at
from harness.analysis.metrics import METRICS
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest

MAX_NAMED = 6  # grid points that a sentence names; the table has all of them


STATEMENTS = {  # kind of claim -> the claim in words
    "better": "{arm} has a {direction} {metric} than {than}{by_more}{where}",
    "more": "{arm} has a higher {metric} than {than}{by_more}{where}",
    "less": "{arm} has a lower {metric} than {than}{by_more}{where}",
    "equivalent": "{arm} and {than} have the same {metric}, but for {margin}{where}",
    "matches": "{arm} has a {metric} of {published}, as published, but for {margin}{where}",
    "wider_lr_range": "{arm} reaches {target} over a wider range of learning rates than {than}{by_more}{where}",
    "best_tuned": "at its own best {along}, {arm} has a {direction} {metric} than {than} at its own{by_more}{where}",
    "trend": "the lead of {arm} over {than} in {metric} grows with {along}{by_more}{each}{where}",
    "sooner": "{arm} reaches {target} sooner than {than}{by_more}{where}",
    "recovers": "{arm} recovers more than {margin} of the {metric} that {lost_by} loses against {than}{where}",
    "costs": "a step of {arm} takes less than {margin} as long as one of {than}{where}",
}
SAME = ("equivalent", "matches")  # kinds that two one-sided tests support
PUBLISHED = "published"  # the other side of `matches`, which is a number and has no trials
BEYOND = " goes on beyond the learning rates tried"
OF_ITS_OWN = {"wider_lr_range": "lr_decades"}  # kinds whose margin is in another unit than their metric


def statement(claim: Claim, manifest: Manifest) -> str:
    """The claim in words, with its margin."""
    name = with_at(OF_ITS_OWN.get(claim.kind, claim.metric), claim.at)
    metric, unit = METRICS[name], _unit(claim, name)
    margin = formatting.amount(-math.log(claim.margin) if claim.kind == "costs" else claim.margin, unit)
    more = f", {margin} as high or more" if claim.is_ratio and claim.kind == "more" else f", by more than {margin}"
    each = f"{' for each doubling' if claim.margin else ''}{_rule(claim, manifest)}" if claim.kind == "trend" else ""
    return STATEMENTS[claim.kind].format(
        arm=formatting.value(claim.arm),
        than=elsewhere(claim, manifest),
        lost_by=formatting.value(claim.than),
        metric=metric.words,
        direction=metric.better,
        margin=margin,
        published="" if claim.published is None else formatting.amount(claim.published, unit),
        by_more=more if claim.margin else "",
        along=claim.along.replace("_", " "),
        each=each,
        where="".join(f", at {axis.replace('_', ' ')} {_listed(wanted)}" for axis, wanted in claim.where.items()),
        target=formatting.percent(manifest.target_accuracy or math.nan),
    )


def _unit(claim: Claim, metric: str) -> formatting.Unit:
    made = {"recovers": f"{metric} recovered"}.get(claim.kind, f"{metric} as a ratio" if claim.is_ratio else metric)
    return METRICS[made].unit


def _rule(claim: Claim, manifest: Manifest) -> str:
    """What else changes along the axis by a rule of the suite, such as lr with the batch size."""
    followers = [name.replace("_", " ") for name, leader in manifest.following.items() if leader == claim.along]
    return f" ({formatting.listing(followers)} follows it)" if followers else ""


def _listed(wanted: Any) -> str:
    return formatting.listing(
        formatting.value(value) for value in (wanted if isinstance(wanted, list | tuple) else [wanted])
    )


def effect(comparison: Comparison) -> str:
    """The estimate: "test accuracy is 5.2 points higher with batch than with none (97.1 against 91.9 on average)"."""
    metric, arm, than = METRICS[comparison.metric], comparison.arm, comparison.than
    if math.isnan(comparison.estimate):
        return f"{metric.template} unknown with {arm} and {than}"
    bound = f"{comparison.bound} " if comparison.bound in ("at least", "at most") else ""
    ours, theirs = (formatting.format_value(mean, metric.unit) for mean in (comparison.arm_mean, comparison.than_mean))
    if comparison.metric.endswith(" recovered"):
        return f"{arm} recovers {formatting.amount(comparison.estimate, metric.unit)} of what {than} loses"
    if metric.unit.is_ratio:
        ratio = formatting.amount(comparison.estimate, metric.unit)
        if comparison.metric == "step_time":
            return f"{metric.template} {ratio} as long with {arm} as with {than} ({ours} against {theirs} ms)"
        return f"{metric.template} {ratio} as high with {arm} as with {than} (geometric means {ours} against {theirs})"
    size = formatting.amount(abs(comparison.estimate), metric.unit)
    direction = metric.better if comparison.estimate >= 0 else metric.worse
    if than == PUBLISHED:
        return f"{metric.template} {size} {direction} with {arm} than {than} ({ours} on average against {theirs})"
    return (
        f"{metric.template} {bound}{size} {direction} with {arm} than with {than} ({ours} against {theirs} on average)"
    )


def interval(comparison: Comparison) -> str:
    """The interval and the number of pairs in words."""
    if math.isnan(comparison.low):
        return f"n = {comparison.n}, too few for an interval"
    ends = formatting.span(comparison.low, comparison.high, METRICS[comparison.metric].unit)
    return f"95 % interval {ends}, n = {formatting.count(comparison.n, _counted(comparison))}"


def _counted(comparison: Comparison) -> str:
    """What n counts: against a published figure there is nothing to pair a seed with."""
    return "seed" if comparison.than == PUBLISHED else "pair"


def test(comparison: Comparison, *, equivalence: bool) -> str:
    """The test with its p in words, or why there is none."""
    if comparison.n < comparison.seeds_needed:
        return f"no test: a verdict needs {formatting.count(comparison.seeds_needed, _counted(comparison))}"
    correction = f" after Holm over {comparison.family}" if comparison.family > 1 else ""
    unit = METRICS[comparison.metric].unit
    if equivalence:
        p = formatting.p_value(comparison.equivalence_p_adjusted)
        return f"two one-sided t tests within {formatting.amount(comparison.margin, unit)}: {p}{correction}"
    against = f" against {formatting.amount(comparison.null, unit)}" if comparison.null else ""
    p, floor = formatting.p_value(comparison.p_adjusted), formatting.number(comparison.p_floor)
    says = f"sign-flip test{against}: {p}{correction}, {floor} being the smallest possible"
    if not math.isnan(comparison.reference_p_adjusted):
        name = "log-rank" if comparison.metric == "steps_to_target" else "Page's trend"
        says += f"; for reference, {name} test: {formatting.p_value(comparison.reference_p_adjusted)}"
    return says


def finding(comparison: Comparison, *, equivalence: bool) -> str:
    """Everything that one grid point says, as a sentence."""
    says = f"{effect(comparison)}; {interval(comparison)}; {test(comparison, equivalence=equivalence)}."
    return f"at {comparison.point} {says}" if comparison.point else says


def sentence(claim: Claim, comparisons: Sequence[Comparison], word: str, secondary: Sequence[Comparison] = ()) -> str:
    """The verdict with the numbers that it rests on, and all that limits it."""
    if not any(comparison.n for comparison in comparisons):
        return f"No pair of seeds has results in both arms yet.{_progress(comparisons)}{_limits(comparisons)}"
    telling = _most_telling(comparisons, word, equality=claim.kind in SAME)
    same = [c for c in secondary if c.point == telling.point]
    if claim.kind == "recovers" and math.isnan(telling.estimate):
        says = f"at {telling.point} there is no loss to recover" if telling.point else "there is no loss to recover"
        says += "."
    else:
        says = finding(telling, equivalence=claim.kind in SAME and telling.verdict != "refuted")
    tally = _tally(comparisons)
    says = tally + says if tally else says[0].upper() + says[1:]
    also = "".join(f" {_capital(finding(c, equivalence=bool(c.margin)))}" for c in same)
    return f"{says}{also}{_limits(comparisons)}{_failures(claim, comparisons, same)}{_progress(comparisons)}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _most_telling(comparisons: Sequence[Comparison], word: str, *, equality: bool) -> Comparison:
    """The grid point that decides: of those with the claim's verdict the one nearest to another verdict."""
    alike = [c for c in comparisons if c.verdict == word and c.n] or [c for c in comparisons if c.n]
    known = [c for c in alike if not math.isnan(c.estimate)] or alike
    return min(known, key=lambda c: _from_margin(c, equality=equality))


def _from_margin(c: Comparison, *, equality: bool) -> float:
    """How near an end of the interval comes to the margin, or the estimate where there is no interval."""
    ends = (c.estimate,) if math.isnan(c.low) else (c.low, c.high)
    margins = (-c.margin, c.margin) if equality else (c.margin,)
    return min(abs(end - margin) for end in ends for margin in margins)


def _tally(comparisons: Sequence[Comparison]) -> str:
    if len(comparisons) == 1:
        return ""
    by_verdict: dict[str, list[str]] = {}
    for comparison in comparisons:
        by_verdict.setdefault(comparison.verdict, []).append(comparison.point)
    (word, points), *others = by_verdict.items()
    parts = [f"{_capital(word)} at {len(points)} of {len(comparisons)} grid points ({_named(points)})"]
    parts += [f"{word} at {len(points)} ({_named(points)})" for word, points in others]
    return f"{', '.join(parts)}. The closest call: "


def _named(points: Sequence[str]) -> str:
    if len(points) <= MAX_NAMED:
        return "; ".join(points)
    return f"{'; '.join(points[:MAX_NAMED])} and {len(points) - MAX_NAMED} more"


def _limits(comparisons: Sequence[Comparison]) -> str:
    """What the comparison could not see: beyond the grid, scores without a partner, results without a score."""
    text, first = "", comparisons[0] if comparisons else None
    bounds = {comparison.bound for comparison in comparisons}
    if first and " at the best " in first.metric:
        text += _beyond_tuned(bounds, first)
    elif any(c.bound == "unknown" and c.arm_mean == c.than_mean == 0 for c in comparisons):
        text += " No learning rate tried brings either arm to the target: only another grid can show their ranges."
    elif first and bounds & {"at most", "unknown"}:
        text += f" The range of {first.than}{BEYOND}: only a wider grid can show it."
    elif first and "at least" in bounds:
        text += f" The range of {first.arm}{BEYOND}: the true difference is larger."
    text += _nowhere(comparisons)
    if unpaired := sum(comparison.n_unpaired for comparison in comparisons):
        text += f" Left out for want of a partner: {formatting.count(unpaired, 'result')}."
    if unknown := sum(comparison.n_missing for comparison in comparisons):
        text += f" Without a score: {formatting.count(unknown, 'result')}, which could turn the verdict."
    return text


def _nowhere(comparisons: Sequence[Comparison]) -> str:
    """Which arm has no range in the grid, beside one that has."""
    ranges = [c for c in comparisons if c.metric == "lr_decades" and (c.arm_mean == 0) != (c.than_mean == 0)]
    arms = dict.fromkeys(c.than if c.arm_mean else c.arm for c in ranges)
    return "".join(f" {arm} reaches the target nowhere: its range counts as 0, and may lie elsewhere." for arm in arms)


def _beyond_tuned(bounds: set[str], first: Comparison) -> str:
    if bounds & {"at most", "unknown"}:
        return f" The best of {first.than} lies at an end of its grid, or the grids differ: only a wider one can tell."
    return (
        f" The best of {first.arm} lies at an end of the grid: it may be better still." if "at least" in bounds else ""
    )


def _failures(claim: Claim, comparisons: Sequence[Comparison], secondary: Sequence[Comparison]) -> str:
    """How many trials failed to train in each arm that the sentence names, and what such a trial counts as."""
    counts: dict[str, tuple[int, int]] = {}
    for group in (comparisons, secondary):
        for side in ("arm", "than"):
            for name in dict.fromkeys(getattr(c, side) for c in group):
                mine = [c for c in group if getattr(c, side) == name]
                failed, finished = (sum(getattr(c, f"{side}_{what}") for c in mine) for what in ("failed", "finished"))
                counts.setdefault(name, (failed, finished))
    counts.pop(PUBLISHED, None)
    policy = METRICS[with_at(claim.metric, claim.at)].policy.words
    counted = f"; a failed trial counts as {policy}" if any(failed for failed, _ in counts.values()) else ""
    named = ", ".join(
        f"{name}{':' if ' at ' in name else ''} {failed} of {finished}" for name, (failed, finished) in counts.items()
    )
    return f" Failed to train: {named}{counted}."


def _progress(comparisons: Sequence[Comparison]) -> str:
    finished = sum(c.arm_finished + c.than_finished for c in comparisons)
    trials = sum(c.arm_trials + c.than_trials for c in comparisons)
    return f" So far {finished} of {formatting.count(trials, 'trial')} have a result." if finished < trials else ""
