"""What changed between two results of one suite: in bits, beyond noise, in verdicts, and in what they were made with.

Equal trials are compared, found by their settings: `source`, the digest of a suite's own code, may differ, the rest of
the key may not. Differences are paired by seed, and tested by their signs. Where an arm has several grid points there
is a test of the mean over all its points, and one of each point. Points at which no score changed are left out: the
signs of differences that are all 0 can't tell anything (Tarone 1990). Holm's correction is over all other tests, of
scores and of failures, at all points and in all suites that are compared at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from harness.analysis import formatting, pairing
from harness.analysis.comparison import Comparison, compare_pairs
from harness.analysis.metrics import FINISHED, judged_by
from harness.analysis.stats import ALPHA, holm, seeds_needed
from harness.analysis.validation import check_claims
from harness.analysis.verdicts import Verdict, verdicts
from harness.errors import SuiteError
from harness.spec.manifest import Manifest, measured_of
from harness.spec.measured import Target
from harness.storage.bits import equal_to_the_bit
from harness.storage.tables import Results, outcomes_of

ALL_POINTS = "over all points"  # how the name ends of a comparison over these
MADE_WITH = ("torch", "python", "commit", "code_hash", "machine", "cpu", "device_name")  # columns of telemetry.csv


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsDiff:
    """What differs between two results of one suite, `before` and `after`."""

    name: str
    only_before: int  # trials
    only_after: int
    matched: int
    without_result: int  # trials that one of both has no result of
    same_bits: Mapping[str, tuple[int, int]]  # arm -> trials whose outcomes and curves are equal, of how many
    statuses: Sequence[tuple[str, str, str]]  # trial in words, status before and after
    comparisons: Sequence[Comparison]  # after against before: arms over all points, then points
    verdicts: Sequence[tuple[str, str, str]]  # claim in words, verdict before and after, where these differ
    claims_apart: int  # claims that only one of both suites makes
    claims_gone: int  # of these, the ones that `before` makes
    targets: tuple[Target | None, Target | None] | None  # before and after, where these differ
    claims_retargeted: int  # claims left out because their verdicts rest on a target that differs
    claims_of_equal_arms: Sequence[str]  # in words: what either side claims of arms that are equal to the bit there
    made_with: Mapping[str, tuple[str, str]]  # what the trials were made with, where that differs

    @property
    def beyond_noise(self) -> list[Comparison]:
        """The comparisons that noise does not explain, in score or in failures."""
        return [c for c in self.comparisons if c.p_adjusted < ALPHA or c.failures_p_adjusted < ALPHA]

    @property
    def conditions(self) -> dict[str, str]:
        """What `--fail-if` can ask for -> what there is of it, empty where there is nothing."""
        differing = sum(count - same for same, count in self.same_bits.values())
        changed_verdicts = [f"{statement}: {before}, then {after}" for statement, before, after in self.verdicts]
        noise = [" ".join(filter(None, [c.arm, c.point or "over all points"])) for c in self.beyond_noise]
        return {
            "changed": "; ".join(noise),
            "verdicts": "; ".join(changed_verdicts),
            "bits": f"{formatting.count(differing, 'trial')} of {self.matched}" if differing else "",
            "untested": self.unjudged["changed"],
        }

    @property
    def unjudged(self) -> dict[str, str]:
        """What `--fail-if` can ask for -> why it can't be told, empty where it can."""
        missing = self.only_before + self.without_result
        trials = f"{formatting.count(missing, 'trial')} without a result on both sides" if missing else ""
        untested = [c for c in self.comparisons if c.n < c.seeds_needed and not _is_unchanged_mean(c)]
        seeds = ""
        if untested:
            most = max(c.seeds_needed for c in untested)
            seeds = f"{formatting.count(len(untested), 'difference')} of fewer than the {most} seeds that a test needs"
        claims = self.claims_gone + self.claims_retargeted
        not_alike = f"{formatting.count(claims, 'claim')} of `before` is not judged alike after" if claims else ""
        equal = "; ".join(f"its arms are equal to the bit: {claim}" for claim in self.claims_of_equal_arms)
        return {
            "changed": "; ".join(filter(None, [seeds, trials, equal])),
            "verdicts": "; ".join(filter(None, [not_alike, equal])),
            "bits": trials,
            "untested": "",
        }


def diff(before: Results, after: Results) -> ResultsDiff:
    """What changed from one result of a suite to another; tests are corrected as if no other suite were compared."""
    rows = [results.trials.set_index(_identities(results.trials)) for results in (before, after)]
    both = rows[0].index.intersection(rows[1].index)
    old, new = (frame.loc[both] for frame in rows)
    done = old["status"].isin(FINISHED) & new["status"].isin(FINISHED)
    judged = (_verdicts(before), _verdicts(after))
    targets = (measured_of(before.manifest).target, measured_of(after.manifest).target)
    retargeted = (
        [] if targets[0] == targets[1] else [name for name in judged[0] if _rests_on_target(judged[0][name], before)]
    )
    same = equal_to_the_bit(old, new, before.curves, after.curves)[done]
    by_arm = same.groupby(old.loc[done, before.manifest.compare], sort=False, dropna=False)
    difference = ResultsDiff(
        name=after.manifest.name,
        only_before=len(rows[0]) - len(both),
        only_after=len(rows[1]) - len(both),
        matched=len(both),
        without_result=int((~done).sum()),
        same_bits={formatting.value(arm): (int(trials.sum()), len(trials)) for arm, trials in by_arm},
        statuses=_statuses(old, new, before.manifest, reached=targets[0] == targets[1]),
        comparisons=_comparisons(old[done], new[done], before.manifest),
        verdicts=_flipped({name: verdict for name, verdict in judged[0].items() if name not in retargeted}, judged[1]),
        claims_apart=len(judged[0].keys() ^ judged[1].keys()),
        claims_gone=len(judged[0].keys() - judged[1].keys()),
        targets=None if targets[0] == targets[1] else targets,
        claims_retargeted=sum(name in judged[1] for name in retargeted),
        claims_of_equal_arms=_claims_of_equal_arms([*judged[0].values(), *judged[1].values()]),
        made_with=_made_with(before, after),
    )
    return corrected([difference])[0]


def corrected(differences: Sequence[ResultsDiff]) -> list[ResultsDiff]:
    """The differences of several suites, with Holm's correction over all of their tests."""
    tested = [c for difference in differences for c in difference.comparisons]
    may_differ = [True] * len(tested) + [c.arm_alone + c.than_alone > 0 for c in tested]
    needed = seeds_needed(sum(may_differ))
    p = np.array([*(c.p for c in tested), *(c.failures_p for c in tested)], dtype=float)
    has_seeds = np.array([c.n >= needed for c in (*tested, *tested)], dtype=bool)
    counted = np.array(may_differ, dtype=bool) & has_seeds & ~np.isnan(p)
    adjusted = np.full(len(p), np.nan)
    adjusted[counted] = holm(p[counted])
    of_scores, of_failures = adjusted[: len(tested)].tolist(), adjusted[len(tested) :].tolist()
    numbers = iter(zip(of_scores, of_failures, strict=True))
    family = int(counted.sum())

    def with_numbers(c: Comparison) -> Comparison:
        score, failures = next(numbers)
        return replace(c, p_adjusted=score, failures_p_adjusted=failures, family=family, seeds_needed=needed)

    return [replace(one, comparisons=[with_numbers(c) for c in one.comparisons]) for one in differences]


def _identities(trials: pd.DataFrame) -> "pd.Index[str]":
    """A name for each trial by its settings, the same in both results."""
    outcomes = outcomes_of(trials)
    settings = [name for name in trials if name not in ("suite", "key", "source", *outcomes)]
    texts = trials[settings].map(lambda value: "" if pd.isna(value) else repr(getattr(value, "item", lambda: value)()))
    return pd.Index(["|".join(row) for row in texts.itertuples(index=False)])


def _statuses(old: pd.DataFrame, new: pd.DataFrame, manifest: Manifest, *, reached: bool) -> list[tuple[str, str, str]]:
    """The trials that ended otherwise; whether a target was `reached` counts where it is the same target."""
    before, after = (
        frame["status"] if reached else frame["status"].replace("below_target", "ok") for frame in (old, new)
    )
    changed = before.to_numpy() != after.to_numpy()
    names = [
        formatting.point({axis: row[axis] for axis in manifest.axes}) or "the trial"
        for row in old.loc[changed].to_dict("records")
    ]
    return list(zip(names, old.loc[changed, "status"], new.loc[changed, "status"], strict=True))


def _comparisons(old: pd.DataFrame, new: pd.DataFrame, manifest: Manifest) -> list[Comparison]:
    """After against before: each arm over all of its points, and each point at which a score changed."""
    compare_axis, metric = manifest.compare, judged_by(manifest)
    trials = pd.concat([old.assign(side="before"), new.assign(side="after")], ignore_index=True)
    by_side = replace(manifest, compare="side")
    axes = [axis for axis in manifest.axes if axis != "seed"]
    units = pairing.score_units(trials, metric)
    points = pairing.pairs_of(units, by_side, axes, arm="after", than="before", metric=metric)
    changed = [
        pairs for pairs in points if pairs.differences.any() or (pairs.ours.failures != pairs.theirs.failures).any()
    ]
    if len(points) == len({pairs.point.get(compare_axis) for pairs in points}):
        return [compare_pairs(pairs, margin=0.0) for pairs in changed]
    means = _mean_units(units, compare_axis)
    arms = pairing.pairs_of(means, by_side, [compare_axis], arm="after", than="before", metric=metric)
    over_points = [compare_pairs(pairs, margin=0.0) for pairs in arms]
    named = [replace(c, point=f"{c.point}, {ALL_POINTS}") for c in over_points]
    return [*named, *(compare_pairs(pairs, margin=0.0) for pairs in changed)]


def _mean_units(units: pd.DataFrame, compare_axis: str) -> pd.DataFrame:
    """One unit per side, arm and seed: the mean score over all points of the arm; missing where a point is."""
    by_seed = units.groupby(["side", compare_axis, "seed"], sort=False, dropna=False)
    counts = by_seed[["failed", "finished", "trials"]].sum()
    score = by_seed["score"].mean().where(by_seed["score"].count() == by_seed.size())
    complete = counts.groupby(level=compare_axis, dropna=False)["trials"].transform("max")
    return counts.assign(score=score.where(counts["trials"] == complete)).reset_index()


def _is_unchanged_mean(comparison: Comparison) -> bool:
    """Whether this is the mean over all points of an arm of which nothing changed; such points are left out."""
    is_mean = comparison.point.endswith(ALL_POINTS)
    return is_mean and comparison.estimate == 0 and comparison.arm_failed == comparison.than_failed


def _flipped(before: Mapping[str, Verdict], after: Mapping[str, Verdict]) -> list[tuple[str, str, str]]:
    """The claims of both suites whose verdicts differ."""
    both = [(before[name], verdict) for name, verdict in after.items() if name in before]
    return [(new.statement, old.word, new.word) for old, new in both if old.word != new.word]


def _claims_of_equal_arms(judged: Sequence[Verdict]) -> list[str]:
    return [*dict.fromkeys(verdict.statement for verdict in judged if verdict.of_equal_arms)]


def _rests_on_target(verdict: Verdict, results: Results) -> bool:
    """Whether a claim can't be made without the suite's target."""
    try:
        check_claims([verdict.claim], replace(results.manifest, target_accuracy=None, target={}))
    except SuiteError:
        return True
    return False


def _verdicts(results: Results) -> dict[str, Verdict]:
    return {repr(verdict.claim): verdict for verdict in verdicts(results, np.random.default_rng(0))}


def _made_with(before: Results, after: Results) -> dict[str, tuple[str, str]]:
    differing = {}
    for name in MADE_WITH:
        old, new = (", ".join(sorted(set(results.telemetry[name].dropna().astype(str)))) for results in (before, after))
        if old != new:
            differing[name] = (old or "unknown", new or "unknown")
    return differing
