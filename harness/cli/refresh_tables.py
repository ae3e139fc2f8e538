"""Tables brought up to date, for the verbs that train nothing."""

import sys
from pathlib import Path

import pandas as pd

from harness.analysis.metrics import FINISHED
from harness.analysis.validation import check_claims
from harness.cli.hints import command
from harness.errors import UsageError
from harness.spec.loader import SuiteFile
from harness.spec.manifest import Manifest, describe, with_history
from harness.storage.records import ResultsDir, read_manifest, write_manifest
from harness.storage.tables import read_trials, write_tables
from harness.text import printable


def refresh(suite: SuiteFile, folder: Path) -> tuple[ResultsDir, Manifest, pd.DataFrame]:
    """Write the tables of a suite anew where records have changed; its folder, its suite.json and its trials."""
    results_dir = ResultsDir(folder / suite.name)
    manifest = read_manifest(results_dir)
    if manifest is None:
        again = command("run", suite.path, results=folder)
        raise UsageError(f"no results of {suite.name} in {folder}; make some with: {again}")
    trials = list(suite.trials(device=manifest.device or "cpu"))
    resolved = describe(suite, trials)
    check_claims(suite.suite.claims, resolved)
    for error in write_tables(results_dir, trials, suite.suite.target_accuracy):
        print(printable(f"{error}; `run` trains it again"), file=sys.stderr)
    table = read_trials(results_dir.root)
    results = int(table["status"].isin(FINISHED).sum())
    now = with_history(resolved, manifest, cohorts=manifest.cohorts, results=results)
    if now != manifest:
        write_manifest(results_dir, now)
    return results_dir, now, table
