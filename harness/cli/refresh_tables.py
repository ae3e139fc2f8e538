"""Tables brought up to date, for the verbs that train nothing."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from harness.analysis.metrics import FINISHED
from harness.analysis.validation import check_claims
from harness.cli.hints import command
from harness.cli.options import Given
from harness.errors import UsageError
from harness.spec.grids.grown import grown
from harness.spec.loader import SuiteFile
from harness.spec.manifest import Manifest, describe, measured_of, with_history
from harness.spec.measured import measured_by
from harness.spec.own_training.own_trial import AnyTrial
from harness.storage.records import ResultsDir, read_manifest, read_records, write_manifest
from harness.storage.running import WorkingRun, find_runs, unfinished_states
from harness.storage.stale import stale_notes
from harness.storage.tables import read_results, read_trials, trials_table, write_tables
from harness.text import printable


def refresh(suite: SuiteFile, folder: Path, given: Given) -> tuple[ResultsDir, Manifest, pd.DataFrame]:
    """Write the tables of a suite anew where records have changed; its folder, its suite.json and its trials.

    Published tables, which have no records, are read as they are.
    """
    results_dir, manifest = find_results(suite, folder, given)
    if manifest.tables:
        return results_dir, manifest, read_results(results_dir.root).trials
    suite = grown(suite, manifest)
    trials = list(suite.trials(device=manifest.device or "cpu"))
    resolved = describe(suite, trials)
    check_claims([declared.claim for declared in resolved.claims], resolved)
    of_suite = measured_of(resolved)
    for error in write_tables(results_dir, trials, of_suite):
        print(printable(f"{error}; `run` trains it again"), file=sys.stderr)
    table = read_trials(results_dir.root, of_suite)
    ended = {*table.loc[table["status"] != "interrupted", "key"]}
    for note in stale_notes(suite, [trial for trial in trials if trial.key not in ended], results_dir, manifest):
        print(printable(note), file=sys.stderr)
    results = int(table["status"].isin(FINISHED).sum())
    now = with_history(resolved, manifest, cohorts=manifest.cohorts, results=results, ended=len(ended))
    if now != manifest:
        write_manifest(results_dir, now)
    return results_dir, now, table


def look(suite: SuiteFile, folder: Path, given: Given) -> tuple[Manifest, pd.DataFrame, list[WorkingRun]]:
    """A suite as it is at the moment: its suite.json, its trials, each with its status, and the runs at work."""
    results_dir, manifest = find_results(suite, folder, given)
    runs = find_runs(results_dir)
    if runs:  # they write the tables, which must not be replaced by older ones
        trials = list(trials_so_far(suite, manifest))
        records, damaged = read_records(results_dir, [trial.key for trial in trials])
        table = trials_table(results_dir, trials, records, measured_by(trials, suite.suite.aim))
        for error in damaged:
            print(printable(str(error)), file=sys.stderr)
    else:
        _, manifest, table = refresh(suite, folder, given)
    unfinished = set(table.loc[table["status"] == "interrupted", "key"])
    states = unfinished_states(results_dir, unfinished, manifest.cohorts, runs)
    statuses = [states.get(key, name) for key, name in table[["key", "status"]].itertuples(index=False)]
    return manifest, table.assign(status=statuses), runs


def trials_so_far(suite: SuiteFile, manifest: Manifest) -> Iterator[AnyTrial]:
    """Every trial of the suite, added seeds included, on the device that its results are of."""
    return grown(suite, manifest).trials(device=manifest.device or "cpu")


def find_results(suite: SuiteFile, folder: Path, given: Given) -> tuple[ResultsDir, Manifest]:
    """The folder of a suite and its suite.json; UsageError where nothing has run."""
    results_dir = ResultsDir(folder / suite.name)
    manifest = read_manifest(results_dir)
    if manifest is None:
        if runs := find_runs(results_dir):
            raise UsageError(f"no results of {suite.name} in {folder} yet; a run has just begun: {runs[0]}")
        again = command("run", suite.path, given=given)
        raise UsageError(f"no results of {suite.name} in {folder}; make some with: {again}")
    return results_dir, manifest
