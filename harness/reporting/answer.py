"""The answer of a suite to its question: one sentence in plain words, and the picture that shows it."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.analysis import formatting, pairing
from harness.analysis.claim_words import target_words
from harness.analysis.comparison import bound_of
from harness.analysis.finding import effect_words, range_words, sameness_words
from harness.analysis.judging import REFUTED, SUPPORTED
from harness.analysis.lr_ranges import range_at_target
from harness.analysis.metrics import judged_by
from harness.analysis.stats import UsableRange
from harness.analysis.verdicts import Verdict
from harness.reporting.findings import changed_words, estimated_points, is_variant
from harness.reporting.variants import variant_verdicts, variants_answer
from harness.spec.claim import Claim, as_list
from harness.spec.manifest import measured_of
from harness.storage.tables import Results

# The figure that shows what a kind of claim is about; `number` is that of the claim.
PICTURES: Mapping[str, str] = {
    "wider_lr_range": "lr_range",
    "costs": "costs",
    "recovers": "recovered_{number}",
    "sooner": "time_to_target_{of_kind}",
    "trend": "batch_size",
    "best_tuned": "best_of_k",
    "better": "effect",
    "equivalent": "effect",
}

NORM_WORDS: Mapping[str, str] = {  # what the field calls them
    "batch": "batch norm",
    "sync_batch": "synchronised batch norm",
    "ghost_batch": "ghost batch norm",
    "batch_renorm": "batch renormalisation",
    "layer": "layer norm",
    "group": "group norm",
    "instance": "instance norm",
    "rms": "RMS norm",
    "frn": "filter response norm",
    "evonorm_s0": "EvoNorm-S0",
    "dyt": "Dynamic Tanh",
    "scaled_ws": "scaled weight standardisation",
    "ws_batch": "batch norm and weight standardisation",
    "ws_group": "group norm and weight standardisation",
    "skipinit": "SkipInit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a page says first."""

    sentence: str  # empty where nothing can be said yet
    pictures: tuple[str, ...]  # names of figures, the first that is drawn is shown
    at: tuple[str, ...] = ()  # settings in words, "model cnn": of figures of several grid points the one of these


def answer(results: Results, verdicts: Sequence[Verdict]) -> Answer:
    """The answer by the first claim that is decided, else has results."""
    if len(variant_verdicts(verdicts)) > 1:
        return Answer(sentence=variants_answer(verdicts, results.manifest), pictures=("variants",))
    number = _telling(verdicts)
    if number is None:
        return Answer(sentence="", pictures=())
    verdict = verdicts[number]
    kind = verdict.claim.kind
    of_kind = sum(other.claim.kind == kind for other in verdicts[: number + 1])
    names = [f"claim_{number + 1}"]
    if kind in PICTURES and (kind != "best_tuned" or verdict.claim.along == "lr"):
        names.insert(0, PICTURES[kind].format(number=number + 1, of_kind=of_kind))
    if names[0] == "effect":  # which has its place in the figure over batch sizes, where these are an axis
        names.insert(1, "batch_size")
    begun = "" if verdict.word in (SUPPORTED, REFUTED) else "Not settled yet: "
    words = _range_words(verdict.claim, results) if kind == "wider_lr_range" else ""
    sentence = words or _effect(verdict, results)
    at = [
        formatting.point({axis: value})
        for axis, value in verdict.claim.where.items()
        if not isinstance(value, list | tuple)
    ]
    answered = begun + sentence if begun else formatting.capitalised(sentence)
    return Answer(sentence=answered, pictures=tuple(names), at=tuple(at))


def with_arm(arm: str, compare: str) -> str:
    """An arm in plain words: "with batch norm", "without norm"."""
    setting, at, point = arm.partition(" at ")
    words = NORM_WORDS.get(setting, setting) if compare == "norm" else setting
    return formatting.with_arm(f"{words}{at}{point}", compare)


def _telling(verdicts: Sequence[Verdict]) -> int | None:
    for words in ({SUPPORTED, REFUTED}, {verdict.word for verdict in verdicts}):
        for number, verdict in enumerate(verdicts):
            if verdict.word in words and estimated_points(verdict) and not verdict.of_equal_arms:
                return number
    return None


def _effect(verdict: Verdict, results: Results) -> str:
    """The mean difference, or from the smallest to the largest over grid points."""
    known = estimated_points(verdict)
    compare, first, claim = results.manifest.compare, known[0], verdict.claim
    names = {arm: with_arm(arm, compare) for arm in (first.arm, first.than)}
    at = first.point
    if is_variant(claim):  # both sides are one arm: what tells them apart are their settings
        names = {first.than: f"at {formatting.point(claim.against)}", first.arm: f"at {changed_words(claim)}"}
        at = _without(at, claim)
    is_equality = verdict.word == SUPPORTED and first.is_equivalence and not first.definition.unit.is_ratio
    if is_equality:
        text = sameness_words(first)
    elif len(known) == 1:
        text = effect_words(first)
    else:
        text = range_words(known)
    text += f", over {len(known)} grid points" if len(known) > 1 else f", at {at}" if at else ""
    # All at once: "batch" is in the words for "batch_renorm" too
    arms = "|".join(re.escape(arm) for arm in sorted(names, key=len, reverse=True))
    text = re.sub(rf"\bwith ({arms})(?=[ ,]|$)", lambda match: names[match[1]], text)
    if is_variant(claim) or (is_equality and first.is_one_sample):  # of one arm, which stands before all else
        text = f"{formatting.capitalised(with_arm(first.arm, compare))}, {text}"
    short = ""
    if verdict.word == REFUTED and first.margin and not first.is_equivalence and not first.definition.unit.is_ratio:
        short = f"; more than {formatting.amount(first.margin, first.definition.unit)} was claimed"
    return f"{text}{short}."


def _without(point: str, claim: Claim) -> str:
    """The grid point without the settings that the claim is about."""
    about = {formatting.point({axis: value}) for axis in claim.against for value in as_list(claim.where[axis])}
    return ", ".join(part for part in point.split(", ") if part not in about)


def _range_words(claim: Claim, results: Results) -> str:
    """Which learning rates work with either arm, as a factor; empty where there are several grid points."""
    trials = pairing.matching(results.trials, claim.where)
    if len(list(pairing.by_point(trials, pairing.axes(results.manifest, "lr")))) != 1:
        return ""
    ours, theirs = (_mean_range(arm, trials, results) for arm in (claim.arm, claim.than))
    if ours is None or theirs is None:
        return ""
    compare = results.manifest.compare
    point = formatting.point({axis: value for axis, value in claim.where.items() if not isinstance(value, list)})
    at = f", at {point}" if point else ""
    names = [with_arm(formatting.value(arm), compare) for arm in (claim.arm, claim.than)]
    target = target_words(results.manifest, "test").replace(".0 %", " %")
    work = f'To "work" is to reach {target} on average.'
    if math.isnan(ours.low) or math.isnan(theirs.low):
        lines = [f"{name}, {_span(usable, is_first=True)}" for name, usable in zip(names, (ours, theirs), strict=True)]
        return f"{formatting.capitalised('; '.join(lines))}{at}. {work}"
    ratio = ours.high / ours.low / (theirs.high / theirs.low)
    bound = bound_of(not (ours.low_seen and ours.high_seen), not (theirs.low_seen and theirs.high_seen))
    size = "times wider" if ratio >= 1 else "times narrower"
    told = {"at least": "at least ", "at most": "at most "}.get(bound, "") if ratio >= 1 else ""
    factor = f"{told}{formatting.number(float(f'{max(ratio, 1 / ratio):.2g}'))} {size}"
    beyond = ", within the rates tried" if bound == "unknown" else ""
    first = f"{formatting.capitalised(names[0])}, {_span(ours, is_first=True)}"
    return f"{first}; {names[1]} {_span(theirs, is_first=False)}: {factor}{beyond}{at}. {work}"


def _mean_range(arm: Any, trials: pd.DataFrame, results: Results) -> UsableRange | None:
    """Where the mean over seeds reaches the target; None where an arm has no results."""
    metric, target = judged_by(results.manifest), measured_of(results.manifest).target
    scored = pairing.score_units(trials, metric).dropna(subset=["score"])
    mean = scored[scored[results.manifest.compare] == arm].groupby("lr")["score"].mean()
    if target is None or mean.empty:
        return None
    return range_at_target(mean.index.to_numpy("float64"), mean.to_numpy("float64"), target)


def _span(usable: UsableRange, *, is_first: bool) -> str:
    if math.isnan(usable.low):
        return "no learning rate that was tried works"
    low, high = (formatting.number(float(f"{end:.2g}")) for end in (usable.low, usable.high))
    low, high = f"{'' if usable.low_seen else 'at most '}{low}", f"{'' if usable.high_seen else 'at least '}{high}"
    return f"learning rates from {low} to {high} work" if is_first else f"{low} to {high}"
