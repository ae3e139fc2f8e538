"""One manifest for the results of one suite that were made in several folders, or why they are not of one suite."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness._version import __version__
from harness.errors import UsageError
from harness.spec.manifest import (
    DeclaredClaim,
    Manifest,
    claim_identity,
    kinds_of_machines,
    points_of,
    to_json,
    trials_of,
)
from harness.spec.own_training.own_trial import AnyTrial, names_of
from harness.spec.trial import Value

SAME = (
    "name",
    "question",
    "compare",
    "target_accuracy",
    "target",
    "metrics",
    "max_seeds",
    "looks",
    "added",
    "growth",
)  # members that say which suite it is
MOST_VALUES = 6  # of an axis in a message


def merge_manifests(manifests: Mapping[Path, Manifest]) -> tuple[Manifest, list[AnyTrial]]:
    """The manifest of the results in all these folders, and its trials; the order of the folders has no part in it.

    UsageError where they are not of one suite. Seeds may differ where each seed has the same trials: then the grid was
    cut into parts by seed.
    """
    trials = {folder: trials_of(manifest, folder / "suite.json") for folder, manifest in manifests.items()}
    first, *others = manifests
    for other in others:
        difference = _difference(manifests[first], manifests[other]) or _grid_difference(trials[first], trials[other])
        if difference:
            raise UsageError(f"{first} and {other} are not of the same suite: {difference}")
    suites = list(manifests.values())
    base = min(manifests, key=lambda folder: (-len(manifests[folder].axes), _text(to_json(manifests[folder]))))
    seeds = sorted({trial.seed for some in trials.values() for trial in some})
    merged, all_trials = _with_seeds(manifests[base], trials[base], seeds)
    kinds = sorted({_text(kind): kind for suite in suites for kind in kinds_of_machines(suite)}.items())
    manifest = replace(
        merged,
        path=min((suite.path for suite in suites), key=lambda path: (Path(path).is_absolute(), len(path), path)),
        claims=_declared_last(suites),
        withdrawn=_withdrawn(suites),
        harness=__version__,
        cohorts=_agreed_cohorts(suites, all_trials),
        device=min((suite.device for suite in suites if suite.device), default=None),
        fingerprint=kinds[0][1] if kinds else {},
        fingerprints=[kind for _, kind in kinds] if len(kinds) > 1 else [],
        machine=_agreed_members([suite.machine for suite in suites if suite.fingerprint]),
    )
    return manifest, all_trials


def _text(content: Mapping[str, object]) -> str:
    return json.dumps(content, sort_keys=True, default=str)


def _difference(one: Manifest, other: Manifest) -> str:
    """What two suites differ in besides their trials; empty where in nothing."""
    for name in SAME:
        if getattr(one, name) != getattr(other, name):
            words, values = name.replace("_", " "), [getattr(manifest, name) for manifest in (one, other)]
            return f"{words} is {values[0]!r:.100} in the one, {values[1]!r:.100} in the other"
    claims = [[claim_identity(declared.claim) for declared in manifest.claims] for manifest in (one, other)]
    if len(claims[0]) != len(claims[1]):
        return f"the one makes {len(claims[0])} claims, the other {len(claims[1])}"
    changed = [number for number, pair in enumerate(zip(*claims, strict=True), start=1) if len(set(pair)) > 1]
    return f"claim {changed[0]} is not the same in both" if changed else ""


def _grid_difference(one: Sequence[AnyTrial], other: Sequence[AnyTrial]) -> str:
    """What the trials of two suites differ in; empty where in nothing, or in their seeds alone."""
    if set(one) == set(other) or len({*_points_by_seed(one).values(), *_points_by_seed(other).values()}) == 1:
        return ""
    for name in _besides_seed(one):
        values = [dict.fromkeys(getattr(trial, name, None) for trial in trials) for trials in (one, other)]
        if values[0].keys() != values[1].keys():
            return f"{name} is {_listing(values[0])} in the one, {_listing(values[1])} in the other"
    return "they combine the same values into other trials"


def _listing(values: Mapping[Value, None]) -> str:
    shown = [f"{value!r:.40}" for value in values][:MOST_VALUES]
    return ", ".join(shown) + (f" and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else "")


def _besides_seed(trials: Sequence[AnyTrial]) -> list[str]:
    """What a trial of these is, but for its seed."""
    return [name for trial in trials[:1] for name in names_of(trial) if name != "seed"]


def _points_by_seed(trials: Sequence[AnyTrial]) -> dict[int, frozenset[tuple[Value, ...]]]:
    """Seed -> the grid points that it has trials at."""
    points: dict[int, set[tuple[Value, ...]]] = {}
    names = _besides_seed(trials)
    for trial in trials:
        points.setdefault(trial.seed, set()).add(tuple(getattr(trial, name) for name in names))
    return {seed: frozenset(of_seed) for seed, of_seed in points.items()}


def _with_seeds(manifest: Manifest, trials: list[AnyTrial], seeds: Sequence[int]) -> tuple[Manifest, list[AnyTrial]]:
    """A manifest and its trials, with these seeds in the place of its own where they are others."""
    if {trial.seed for trial in trials} == set(seeds):
        return manifest, trials
    pattern = [trial for trial in trials if trial.seed == trials[0].seed]
    all_trials = [replace(trial, seed=seed) for seed in seeds for trial in pattern]
    merged = replace(
        manifest,
        axes={**manifest.axes, "seed": list(seeds)},
        settings={name: value for name, value in manifest.settings.items() if name != "seed"},
        trials=len(all_trials),
        points=points_of(all_trials, [*manifest.points, "seed"]),
    )
    return merged, all_trials


def _declared_last(manifests: Sequence[Manifest]) -> list[DeclaredClaim]:
    """The claims, each as late as it was declared anywhere: no result may have been known before."""
    columns = zip(*(manifest.claims for manifest in manifests), strict=True)
    return [max(same, key=lambda declared: declared.declared_after) for same in columns]


def _withdrawn(manifests: Sequence[Manifest]) -> list[DeclaredClaim]:
    """The claims that were withdrawn in any of the folders, in an order that these have no part in."""
    withdrawn = {claim_identity(declared.claim): declared for one in manifests for declared in one.withdrawn}
    return [declared for _, declared in sorted(withdrawn.items())]


def _agreed_cohorts(manifests: Sequence[Manifest], trials: Sequence[AnyTrial]) -> list[list[str]]:
    """The cohorts that no manifest cuts in another way, by their first trials."""
    position = {trial.key: i for i, trial in enumerate(trials)}
    cuts = [{key: cohort for cohort in manifest.cohorts for key in cohort} for manifest in manifests]
    cohorts = {tuple(cohort): list(cohort) for manifest in manifests for cohort in manifest.cohorts if cohort}
    agreed = [
        cohort
        for cohort in cohorts.values()
        if position.keys() >= set(cohort) and all(cut.get(key, cohort) == cohort for cut in cuts for key in cohort)
    ]
    return sorted(agreed, key=lambda cohort: min(position[key] for key in cohort))


def _agreed_members(mappings: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    """What all mappings say."""
    return {
        name: value
        for name, value in (mappings[0] if mappings else {}).items()
        if all(other.get(name) == value for other in mappings)
    }
