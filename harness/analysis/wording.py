"""Claims and verdicts in plain English, generated from the numbers."""

import math
from collections.abc import Sequence

from harness.analysis import formatting, stats
from harness.analysis.claims import KINDS
from harness.analysis.comparison import Comparison
from harness.analysis.finding import finding
from harness.analysis.judging import REFUTED, SUPPORTED, UNDECIDED, fails_more_often, is_held_back
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest

MAX_NAMED = 6  # grid points that a sentence names; the table has all of them


def statement(claim: Claim, manifest: Manifest) -> str:
    """The claim in words, with its margin."""
    return KINDS[claim.kind].statement(claim, manifest)


def sentence(
    claim: Claim,
    comparisons: Sequence[Comparison],
    word: str,
    secondary: Sequence[Comparison] = (),
    *,
    compare: str = "norm",
    is_one_split: bool = True,
) -> str:
    """The verdict with the numbers that it rests on, and all that limits it; `compare` is the axis of the arms.

    `is_one_split` says that seeds share the split of the data, which own training need not have them do.
    """
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
        ""
        if claim.metric == "step_time" or not is_one_split
        else " Seeds vary all but the split of the data, which is one.",
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
