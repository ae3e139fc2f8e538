"""Reading what runs have left, for the verbs that train nothing."""

import sys
from dataclasses import replace
from pathlib import Path

from harness.cli.manifest import describe, with_history
from harness.errors import UsageError
from harness.loader import SuiteFile
from harness.records import Place, read_manifest, write_manifest
from harness.reporting.claims import check
from harness.reporting.metrics import FINISHED
from harness.store import Results, merge, read_results


def refresh(suite: SuiteFile, folder: Path) -> Results:
    """The results of a suite as its records have them now, claims and target as the suite file has them now."""
    place = Place(folder / suite.name)
    manifest = read_manifest(place)
    if manifest is None:
        raise UsageError(f"no results of {suite.name} in {folder}; make some with: python -m harness run {suite.path}")
    trials = list(suite.trials(device=manifest["device"]))
    description = describe(suite, trials)
    check(suite.suite.claims, description)
    for error in merge(place, trials, suite.suite.target_accuracy):
        print(f"{error}; `run` trains it again", file=sys.stderr)
    found = read_results(place.root)
    results = int(found.trials["status"].isin(FINISHED).sum())
    now = with_history(description, manifest, cohorts=manifest["cohorts"], results=results)
    if now != manifest:
        write_manifest(place, now)
    return replace(found, suite=now)
