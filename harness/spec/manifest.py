"""suite.json: what a suite comes to, as reports and later runs need it. Only this file knows its keys."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from harness._version import __version__
from harness.errors import DamageError, SuiteError, UsageError
from harness.spec.claim import Claim, DefaultMetric
from harness.spec.grids.lr_growth import LrGrowth, describe_growth, read_growth
from harness.spec.loader import SuiteFile
from harness.spec.looks import AddedSeeds, Look, read_seeds
from harness.spec.measured import CLASSIFICATION, Aim, Measured, measured, measured_by, measured_own
from harness.spec.metric import MetricSpec
from harness.spec.own_training.own_trial import TRAIN, AnyTrial, check_setting, names_of, trial_of
from harness.spec.trial import Value, canonical
from harness.typed import check_members, fits, shown

NOT_AXES = ("source",)  # a digest follows its model or dataset
KNOWN_AFTER_A_RUN = ("device", "fingerprint", "fingerprints", "machine", "tables")
OF_LOOKS = ("max_seeds", "looks", "added")
NOT_WRITTEN_EMPTY = ("target", "metrics", "points", "sources", "withdrawn", "growth", *OF_LOOKS, *KNOWN_AFTER_A_RUN)
MOST_SOURCES = 20  # that are remembered of a model or dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredClaim:
    """A claim, and how many trials of the suite had results when it was first declared."""

    claim: Claim
    declared_after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What suite.json holds: the suite as it was resolved, its cohorts, and the machine that it runs on."""

    name: str
    question: str
    path: str  # of the suite file
    compare: str  # the axis whose values are the arms
    target_accuracy: float | None
    target: Mapping[str, float] = field(default_factory=dict)  # of a metric other than accuracy
    metrics: Mapping[str, MetricSpec] = field(default_factory=dict)  # that the suite brings itself
    axes: Mapping[str, Sequence[Value]]  # what varies -> its values
    following: Mapping[str, str] = field(default_factory=dict)  # an axis that a rule ties to another -> the other
    settings: Mapping[str, Value]  # what does not vary
    claims: Sequence[DeclaredClaim]
    withdrawn: Sequence[DeclaredClaim] = field(default_factory=list)  # made before the first result, and no more
    trials: int  # how many there are
    points: Mapping[str, Sequence[Value]] = field(default_factory=dict)  # what varies -> its value in each trial
    # Model or dataset of the suite's own -> each source that it has had -> the files and packages that are in this.
    sources: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    harness: str  # the version that wrote it
    cohorts: Sequence[Sequence[str]] = field(default_factory=list)  # keys of trials
    device: str | None = None  # None, like an empty fingerprint and machine, before anything was trained
    fingerprint: Mapping[str, Value] = field(default_factory=dict)
    fingerprints: Sequence[Mapping[str, Value]] = field(default_factory=list)  # of merged results, where these differ
    machine: Mapping[str, Value] = field(default_factory=dict)
    growth: LrGrowth | None = None  # of a grid of learning rates that may grow
    max_seeds: int = 0  # that claims without a word may get; 0 where no looks are planned
    looks: Sequence[Look] = field(default_factory=list)  # at verdicts, before the seeds became more
    added: Sequence[AddedSeeds] = field(default_factory=list)  # where no claim has a word
    tables: Mapping[str, str] = field(default_factory=dict)  # of published results, which have no records -> SHA-256


def describe(suite: SuiteFile, trials: Sequence[AnyTrial]) -> Manifest:
    """The manifest of a suite before anything has run: its question, its axes, its constants and its claims."""
    axes = [axis for grid in suite.suite.grids for axis in grid]
    names = [*dict.fromkeys([*axes, *(name for trial in trials[:1] for name in names_of(trial))])]
    values = {name: list(dict.fromkeys(getattr(t, name) for t in trials)) for name in names}
    varying = {name: levels for name, levels in values.items() if len(levels) > 1 and name not in NOT_AXES}
    following = _following(trials, [name for name in varying if name not in (suite.suite.compare, "seed")])
    aim = suite.suite.aim
    return Manifest(
        name=suite.name,
        question=suite.question,
        path=str(suite.path),
        compare=suite.suite.compare,
        target_accuracy=aim.target_accuracy,
        target=aim.target,
        metrics=aim.own,
        axes={name: levels for name, levels in varying.items() if name not in following},
        following=following,
        settings={name: levels[0] for name, levels in values.items() if name not in varying and levels},
        claims=[DeclaredClaim(claim=claim) for claim in with_metrics(suite.suite.claims, measured_by(trials, aim))],
        trials=len(trials),
        points=points_of(trials, [name for name in names if len(values[name]) > 1]),
        growth=describe_growth(suite.suite.growth, suite.lrs),
        sources={name: {suite.sources[name]: dict(parts)} for name, parts in suite.parts.items()},
        harness=__version__,
    )


def with_metrics(claims: Iterable[Claim], of_suite: Measured) -> Iterator[Claim]:
    """The claims, those that name no metric with the one that the suite's task is judged by."""
    judged_by = list(dict.fromkeys(map(of_suite.judged_by, of_suite.tasks)))
    if len(judged_by) > 1 and of_suite.target is not None:
        judged_by = [of_suite.target.metric]
    for number, claim in enumerate(claims, start=1):
        if isinstance(claim.metric, DefaultMetric):
            if len(judged_by) > 1:
                raise SuiteError(
                    f"claim {number} ({claim.kind}): tasks are judged by {' and '.join(judged_by)}; give it a metric"
                )
            yield replace(claim, metric=of_suite.column(judged_by[0]))
        else:
            yield claim


def measured_of(manifest: Manifest) -> Measured:
    """What the trials of a suite are measured by."""
    aim = Aim(own=manifest.metrics, target_accuracy=manifest.target_accuracy, target=manifest.target)
    if is_own(manifest):
        settings = [*manifest.settings, *manifest.axes, *manifest.following]
        return measured_own({name: _values_of(manifest, name, None) for name in settings}, aim)
    tasks, names = (
        _values_of(manifest, axis, default) for axis, default in (("task", CLASSIFICATION), ("metrics", ""))
    )
    return measured(map(str, tasks), map(str, names), aim)


def is_own(manifest: Manifest) -> bool:
    """Whether a function of the suite's own trains, and not the harness."""
    return TRAIN in manifest.settings or TRAIN in manifest.points


def _values_of(manifest: Manifest, axis: str, default: Value) -> Sequence[Value]:
    """The values that a field has in the trials; the default in results of before there was such a field."""
    return manifest.points.get(axis) or manifest.axes.get(axis) or [manifest.settings.get(axis, default)]


def points_of(trials: Sequence[AnyTrial], varying: Sequence[str]) -> dict[str, list[Value]]:
    """For each of these fields its value in every trial; with the settings, these are the trials."""
    return {name: [getattr(trial, name) for trial in trials] for name in varying}


def trials_of(manifest: Manifest, path: Path) -> list[AnyTrial]:
    """Every trial of the suite that the manifest at `path` describes, in their order."""
    if not manifest.points and manifest.trials > 1:
        raise UsageError(f"{path} is of an earlier version, which did not list the trials; `report` writes it again")
    contents: list[dict[str, Any]] = [
        {**manifest.settings, **{name: column[i] for name, column in manifest.points.items()}}
        for i in range(manifest.trials)
    ]
    try:
        trials = [trial_of(content) for content in contents]
    except (SuiteError, TypeError) as error:
        raise DamageError(f"{path} is no manifest: it has a trial that can't be: {error}") from error
    if len(set(trials)) < len(trials):
        raise DamageError(f"{path} is no manifest: it has a trial twice")
    return trials


def kinds_of_machines(manifest: Manifest) -> list[Mapping[str, Value]]:
    """The different fingerprints under which the results were made; none before anything was trained."""
    kinds = [manifest.fingerprint, *manifest.fingerprints]
    return [kind for i, kind in enumerate(kinds) if kind and kind not in kinds[:i]]


def differing_members(kinds: Sequence[Mapping[str, Value]]) -> dict[str, list[str]]:
    """The members in which fingerprints differ, each with its values."""
    names = dict.fromkeys(name for kind in kinds for name in kind)
    values = {name: sorted({str(kind.get(name, "")) for kind in kinds}) for name in names}
    return {name: texts for name, texts in values.items() if len(texts) > 1}


def _following(trials: Sequence[AnyTrial], varying: Sequence[str]) -> dict[str, str]:
    """Axes that a rule of the suite ties to an axis before them, such as an lr that grows with the batch size."""
    following: dict[str, str] = {}
    for later in range(len(varying)):
        for leader in varying[:later]:
            pairs = {(getattr(trial, leader), getattr(trial, varying[later])) for trial in trials}
            if leader not in following and len(pairs) == len({leading for leading, _ in pairs}):
                following[varying[later]] = leader
    return following


def with_history(
    manifest: Manifest, before: Manifest | None, *, cohorts: Sequence[Sequence[str]], results: int, ended: int = 0
) -> Manifest:
    """The manifest with what earlier runs of the suite decided: the cut into cohorts, when claims were declared.

    A claim of before the first result that the suite no longer makes is kept as withdrawn: the verdicts on the others
    are corrected for it all the same. Before there are results claims may come and go. Where all trials had
    `ended` before the suite got more seeds, its verdicts had been looked at.
    """
    earlier = {} if before is None else {claim_identity(d.claim): d for d in (*before.withdrawn, *before.claims)}
    now = {claim_identity(d.claim): d for d in manifest.claims}
    claims = [
        replace(d, declared_after=earlier[name].declared_after if name in earlier else results)
        for name, d in ((claim_identity(d.claim), d) for d in manifest.claims)
    ]
    withdrawn = [d for name, d in earlier.items() if results and name not in now and not d.declared_after]
    kept = {} if before is None else {name: getattr(before, name) for name in (*KNOWN_AFTER_A_RUN, *OF_LOOKS)}
    if before is not None and ended >= before.trials and set(seeds_of(manifest)) > set(seeds_of(before)):
        kept["looks"] = with_look(before)
    sources = dict(manifest.sources)
    for name, of_one in (before.sources if before else {}).items():
        known = {**of_one, **manifest.sources.get(name, {})}
        sources[name] = dict([*known.items()][-MOST_SOURCES:])
    return replace(manifest, **kept, claims=claims, withdrawn=withdrawn, cohorts=cohorts, sources=sources)


def early_claims(manifest: Manifest) -> int:
    """How many claims verdicts are corrected over: those declared before the first result, withdrawn ones included."""
    return sum(not one.declared_after for one in manifest.claims) + len(manifest.withdrawn)


def seeds_of(manifest: Manifest) -> Sequence[Value]:
    """The seeds of the suite, in its order."""
    return manifest.axes.get("seed", [manifest.settings.get("seed", 0)])


def with_look(manifest: Manifest) -> list[Look]:
    """The looks at verdicts, one with the seeds that there are included; it is counted once."""
    look = Look(seeds=len(seeds_of(manifest)), max_seeds=manifest.max_seeds)
    is_known = any(known.seeds == look.seeds for known in manifest.looks)
    return [*manifest.looks, *([] if is_known else [look])]


def claim_identity(claim: Claim) -> str:
    """What a claim says, the same before and after it was written as JSON."""
    return json.dumps(asdict(claim), sort_keys=True, default=str)


def to_json(manifest: Manifest) -> dict[str, Any]:
    """The members of suite.json; what is only known after a run is left out before."""
    content = {f.name: getattr(manifest, f.name) for f in fields(Manifest)}
    claims, withdrawn = (
        [{**asdict(d.claim), "declared_after": d.declared_after} for d in declared]
        for declared in (manifest.claims, manifest.withdrawn)
    )
    metrics = {name: _without_defaults(spec) for name, spec in manifest.metrics.items()}
    empty = [name for name in NOT_WRITTEN_EMPTY if not content[name]]
    of_looks = {name: [asdict(one) for one in content[name]] for name in ("looks", "added")}
    growth = manifest.growth and asdict(manifest.growth)
    members = {**content, "claims": claims, "withdrawn": withdrawn, "metrics": metrics, "growth": growth, **of_looks}
    return {name: value for name, value in members.items() if name not in empty}


def _without_defaults(spec: MetricSpec) -> dict[str, Any]:
    """The members of a metric that differ from their default, which may be infinite: JSON has no such number."""
    return {f.name: value for f in fields(MetricSpec) if (value := getattr(spec, f.name)) != f.default}


def from_json(content: Mapping[str, Any], path: Path) -> Manifest:
    """The manifest that the members of suite.json stand for; DamageError where they are not what was written."""
    where = f"{path} is no manifest:"
    check_members(content, Manifest, where)
    if content["trials"] < 0:
        raise DamageError(f"{where} trials is {content['trials']}")
    if any(len(column) != content["trials"] for column in content.get("points", {}).values()):
        raise DamageError(f"{where} it has {content['trials']} trials, and not as many points")
    if empty := [axis for axis, levels in content["axes"].items() if not levels]:
        raise DamageError(f"{where} axes has no value of {shown(empty[0])}")
    claims = [_declared(member, f"{where} in claim {number},") for number, member in enumerate(content["claims"], 1)]
    withdrawn = [_declared(member, f"{where} in a withdrawn claim,") for member in content.get("withdrawn", [])]
    metrics = {name: _metric(name, member, where) for name, member in content.get("metrics", {}).items()}
    looks = [read_seeds(Look, member, f"{where} in a look,") for member in content.get("looks", [])]
    added = [read_seeds(AddedSeeds, member, f"{where} in added seeds,") for member in content.get("added", [])]
    of_looks = {"looks": looks, "added": added, "growth": read_growth(content.get("growth"), f"{where} in growth,")}
    return Manifest(**{**content, "claims": claims, "withdrawn": withdrawn, "metrics": metrics, **of_looks})


def _metric(name: str, content: Mapping[str, Any], where: str) -> MetricSpec:
    where = f"{where} metrics, in {shown(name)}:"
    check_members(content, MetricSpec, where)
    return MetricSpec(**content)


def _declared(content: Mapping[str, Any], where: str) -> DeclaredClaim:
    members = {name: value for name, value in content.items() if name != "declared_after"}
    check_members(members, Claim, where)
    after = content.get("declared_after", 0)
    if not (fits(after, int) and after >= 0):
        raise DamageError(f"{where} declared_after is {shown(after)}")
    try:
        return DeclaredClaim(claim=Claim(**members), declared_after=after)
    except SuiteError as error:
        raise DamageError(f"{where} {error}") from error


def check_settings(manifest: Manifest, path: Path) -> None:
    """Raise DamageError where tables can't be read by the manifest: by settings that this version doesn't know."""
    levels = {**{name: [value] for name, value in manifest.settings.items()}, **manifest.axes}
    try:
        if manifest.compare not in levels:
            raise SuiteError(f"it compares {shown(manifest.compare)}, which is none of its axes or settings")
        for name, values in levels.items():
            for value in values:
                check_setting(name, value) if is_own(manifest) else canonical(name, value)
        measured_of(manifest)
    except SuiteError as error:
        raise DamageError(f"{path} is no manifest of this version: {error}") from error
