"""`report`: write tables and report again from what is in the results folder."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.analysis import formatting
from harness.analysis.claims import VERDICTS
from harness.analysis.metrics import FAILED, FINISHED
from harness.analysis.verdicts import verdicts
from harness.cli.fail_if import close_gate, parse_fail_if
from harness.cli.refresh_tables import refresh
from harness.reporting.staleness import current_page
from harness.spec.loader import load_suites
from harness.spec.manifest import Manifest
from harness.storage.records import ResultsDir
from harness.storage.tables import Results, read_results

CONDITIONS = (*VERDICTS, "failed", "unfinished")  # of --fail-if: verdicts, trials that failed, trials without a result


def report(options: argparse.Namespace) -> int:
    """Write the report of each suite, and an overview of several; the exit code."""
    asked = parse_fail_if(options.fail_if, CONDITIONS)
    found: dict[str, list[str]] = {name: [] for name in CONDITIONS}
    suites = load_suites(options.suites)
    for suite in suites:
        place, manifest, table = refresh(suite, options.results)
        page = page_of_report(place, manifest)
        count = len(table)
        have = count - int((table["status"] == "interrupted").sum())
        print(f"{suite.name}: {have} of {count} trials have ended; the report is {page}")
        if asked:
            _look(replace(read_results(place.root), manifest=manifest), found)
    if len(suites) > 1:
        print(f"the overview is {page_of_overview(options.results, [suite.name for suite in suites])}")
    close_gate(asked, {name: "; ".join(of) for name, of in found.items()})
    return 0


def page_of_overview(folder: Path, names: Sequence[str]) -> Path:
    """The page that tells what the suites of these names have found, made anew."""
    from harness.reporting.overview import write_overview  # templates take a while to load

    return write_overview(folder, [read_results(folder / name) for name in names])


def _look(results: Results, found: dict[str, list[str]]) -> None:
    """Add to each condition what a suite has of it."""
    name, status = results.manifest.name, results.trials["status"]
    for number, verdict in enumerate(verdicts(results, np.random.default_rng(0)), start=1):
        found[verdict.word].append(f"{name}, claim {number}: {verdict.statement}")
    for condition, count in (("failed", status.isin(FAILED).sum()), ("unfinished", (~status.isin(FINISHED)).sum())):
        if count:
            found[condition].append(f"{name}: {formatting.count(int(count), 'trial')}")


def page_of_report(results_dir: ResultsDir, manifest: Manifest) -> Path:
    """The page of the report on the tables as they are, made anew where it is of others."""
    page = current_page(results_dir.root, manifest)
    if page is None:
        from harness.reporting.report import write_report  # pictures take a second to load

        page = write_report(replace(read_results(results_dir.root), manifest=manifest))
    return page
