"""`merge`: results made on several machines joined into one folder."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from harness.analysis import formatting
from harness.analysis.validation import check_claims
from harness.cli.hints import command
from harness.cli.options import Given
from harness.cli.recheck import recheck
from harness.errors import MachineError, UsageError
from harness.reporting.upkeep.update import update_report
from harness.spec.loader import SuiteFile, load_suite
from harness.spec.manifest import Manifest, differing_members, kinds_of_machines
from harness.spec.manifest_merge import merge_manifests
from harness.storage.folders import by_suite
from harness.storage.lock import lock_results
from harness.storage.merging import MergedSuite, merge_results
from harness.storage.rechecking import is_foreign_suite
from harness.storage.records import ResultsDir, read_manifest
from harness.text import printable


def merge(options: argparse.Namespace) -> int:
    """Join the results in these folders, suite by suite, and write tables and reports; the exit code."""
    suites = by_suite(options.folders, options.results)
    if options.suite is not None and len(suites) > 1:
        raise UsageError(f"--suite names one suite, and the folders hold {len(suites)}: {', '.join(suites)}")
    plans = {name: merge_manifests(folders) for name, folders in suites.items()}
    for manifest, _ in plans.values():
        check_claims([declared.claim for declared in manifest.claims], manifest)
    programs = {} if options.recheck is None else {name: _program(options, m) for name, (m, _) in plans.items()}
    exit_code = 0
    for name, (manifest, trials) in plans.items():
        results_dir = ResultsDir(options.results / name)
        with lock_results(results_dir):
            if read_manifest(results_dir) != suites[name].get(results_dir.root):
                raise MachineError(f"{results_dir.root} has changed just now; merge again")
            merged = merge_results(list(suites[name]), results_dir, manifest, trials)
            page = update_report(results_dir, manifest)
        for line in [*_summary_lines(merged, results_dir, manifest, options.given), f"  the report is {page}"]:
            print(printable(line))
        exit_code = max(exit_code, int(merged.is_incomplete))
        trained = [trial for trial, made in zip(trials, merged.trials, strict=True) if made.is_trained]
        if name in programs and trained:
            exit_code = max(exit_code, recheck(programs[name], results_dir, manifest, trained, options.recheck))
    return exit_code


def _program(options: argparse.Namespace, manifest: Manifest) -> SuiteFile:
    """The suite that trains a sample again; one that came with the results is run only where it is named."""
    if options.suite is None and is_foreign_suite(Path(manifest.path), [*options.folders, options.results]):
        raise UsageError(f"--recheck runs the suite file of {manifest.name}; say which that is with --suite PATH")
    return load_suite(manifest.path if options.suite is None else options.suite)


def _summary_lines(merged: MergedSuite, results_dir: ResultsDir, manifest: Manifest, given: Given) -> Iterator[str]:
    """What was left out and why, how much there is now, where it was made, and what to do next."""
    yield from (f"left out: {fault}" for fault in merged.faults)
    yield from (trial.conflict for trial in merged.trials if trial.conflict)
    for folder, count in merged.foreign.items():
        yield f"left out: {formatting.count(count, 'record')} in {folder} of trials that its suite.json does not list"
    trials, name = merged.trials, results_dir.root.name
    n_trained, n_new = sum(trial.is_trained for trial in trials), sum(trial.is_new for trial in trials)
    n_repeated = sum(trial.n_equal > 1 for trial in trials)
    yield f"{name}: {n_trained} of {formatting.count(len(trials), 'trial')} have a result, {n_new} of them new here"
    if n_repeated:
        yield f"  in several folders, with equal results: {formatting.count(n_repeated, 'trial')}"
    kinds = kinds_of_machines(manifest)
    if differing := differing_members(kinds):
        values = "; ".join(f"{name} {', '.join(texts)}" for name, texts in differing.items())
        yield f"  made on {len(kinds)} kinds of machines, which differ: {values}"
    if any(trial.conflict for trial in trials):
        yield f"  results that contradict are kept in {results_dir.root / 'conflicts'}. A trial of which none counts"
        yield f"  is trained again by `run`, unless you move the right one to {results_dir.record('KEY')}"
    if n_trained < len(trials):
        yield f"  go on with: {command('run', manifest.path, given=given)}"
