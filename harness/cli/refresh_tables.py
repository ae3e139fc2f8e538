"""Reading what runs have left, for the verbs that train nothing."""

import sys
from pathlib import Path

import pandas as pd

from harness.analysis.metrics import FINISHED
from harness.analysis.validation import check_claims
from harness.errors import UsageError
from harness.spec.loader import SuiteFile
from harness.spec.manifest import Manifest, describe, with_history
from harness.storage.records import ResultsDir, read_manifest, write_manifest
from harness.storage.tables import read_trials, write_tables


def refresh(suite: SuiteFile, folder: Path) -> tuple[ResultsDir, Manifest, pd.DataFrame]:
    """Bring the tables of a suite to where its records are; its place, its suite.json as it is now, and its trials."""
    place = ResultsDir(folder / suite.name)
    manifest = read_manifest(place)
    if manifest is None:
        raise UsageError(f"no results of {suite.name} in {folder}; make some with: python -m harness run {suite.path}")
    trials = list(suite.trials(device=manifest.device or "cpu"))
    resolved = describe(suite, trials)
    check_claims(suite.suite.claims, resolved)
    for error in write_tables(place, trials, suite.suite.target_accuracy):
        print(f"{error}; `run` trains it again", file=sys.stderr)
    table = read_trials(place.root)
    results = int(table["status"].isin(FINISHED).sum())
    now = with_history(resolved, manifest, cohorts=manifest.cohorts, results=results)
    if now != manifest:
        write_manifest(place, now)
    return place, now, table
