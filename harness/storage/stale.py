"""Trials that had a result until something changed that the suite brings: a module, a data file, a package."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product

from harness.spec.loader import SuiteFile
from harness.spec.manifest import Manifest
from harness.spec.own_training.own_trial import AnyTrial
from harness.spec.suite import own_names
from harness.storage.records import ResultsDir

DIGEST = 16  # letters; a version is hardly as long
Sources = Mapping[str, Mapping[str, str]]  # source -> the parts that it was made of


def stale_notes(
    suite: SuiteFile, trials: Iterable[AnyTrial], results_dir: ResultsDir, earlier: Manifest | None
) -> list[str]:
    """How many of these trials, which have no result, had one, and what has changed since; a line for each change.

    `earlier` is the manifest of the runs that made it.
    """
    history = {name: _history(suite, name, earlier) for name in suite.sources}
    counts: dict[str, int] = {}
    for trial in trials:
        if changes := _changes(suite, trial, results_dir, history):
            counts[changes] = counts.get(changes, 0) + 1
    return [
        f"{count} {'trial is' if count == 1 else 'trials are'} stale, to be trained again: {changes}"
        for changes, count in counts.items()
    ]


def _history(suite: SuiteFile, name: str, earlier: Manifest | None) -> Sources:
    """All sources that what a suite brings has had. Modules were no part of it in the first version."""
    file, code = next(iter(suite.parts[name].items()))
    return {code: {file: code}, **(earlier.sources.get(name, {}) if earlier else {})}


def _changes(suite: SuiteFile, trial: AnyTrial, results_dir: ResultsDir, history: Mapping[str, Sources]) -> str:
    """What has changed since a trial of the same settings had a result; empty where none had."""
    own = own_names(trial.content)
    names = [name for name in suite.sources if name in own]
    for old in product(*([*history[name]][::-1] for name in names)):
        source = "+".join(old)
        if source != trial.source and results_dir.record(replace(trial, source=source).key).exists():
            changes = [
                change
                for name, known in zip(names, old, strict=True)
                for change in _differences(history[name][known], suite.parts[name])
            ]
            return "; ".join(dict.fromkeys(changes))
    return ""


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for part in dict.fromkeys([*before, *now]):
        if part not in before:
            yield f"{part} is new to what they are made from"
        elif part not in now:
            yield f"{part} is no longer part of what they are made from"
        elif before[part] != now[part]:
            yield f"{part} has changed" if len(now[part]) == DIGEST else f"{part} is {now[part]}, was {before[part]}"
