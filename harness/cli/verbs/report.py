"""`report`: write tables and report again from what is in the results folder."""

import argparse
from dataclasses import replace

from harness.analysis import formatting
from harness.analysis.judging import VERDICTS
from harness.analysis.metrics import FAILED, FINISHED
from harness.analysis.verdicts import verdicts
from harness.cli.fail_if import close_gate, parse_fail_if
from harness.cli.refresh_tables import refresh
from harness.reporting.publishing import publish
from harness.reporting.upkeep.update import update_overview, update_report
from harness.spec.loader import load_suites
from harness.storage.tables import Results, read_results
from harness.text import printable

# Of --fail-if: verdicts, trials that failed to train, trials without a result.
REPORT_CONDITIONS = (*VERDICTS, "failed", "unfinished")

DECIDED = [word for word in VERDICTS if word != "descriptive"]  # which too few seeds can't tell


def report(options: argparse.Namespace) -> int:
    """Write the report of each suite, and an overview of several; the exit code."""
    asked = parse_fail_if(options.fail_if, REPORT_CONDITIONS)
    met: dict[str, list[str]] = {name: [] for name in REPORT_CONDITIONS}
    suites = load_suites(options.suites)
    for suite in suites:
        results_dir, manifest, table = refresh(suite, options.results, options.given)
        page = update_report(results_dir, manifest)
        if options.publish:
            page = publish(replace(read_results(results_dir.root), manifest=manifest), options.publish)
        n_ended = len(table) - int((table["status"] == "interrupted").sum())
        print(f"{suite.name}: {n_ended} of {len(table)} trials have ended; the report is {printable(str(page))}")
        if asked:
            for condition, lines in _conditions(replace(read_results(results_dir.root), manifest=manifest)).items():
                met[condition] += lines
    if len(suites) > 1:
        folder = options.publish or options.results
        print(f"the overview is {update_overview(folder, [suite.name for suite in suites])}")
    met_by = {name: "; ".join(of_suites) for name, of_suites in met.items()}
    close_gate(asked, met_by, dict.fromkeys(DECIDED, met_by["descriptive"]))
    return 0


def _conditions(results: Results) -> dict[str, list[str]]:
    """The conditions that a suite meets, with what meets them."""
    name, status = results.manifest.name, results.trials["status"]
    met: dict[str, list[str]] = {}
    for number, verdict in enumerate(verdicts(results), start=1):
        met.setdefault(verdict.word, []).append(f"{name}, claim {number}: {verdict.statement}")
    for condition, count in (("failed", status.isin(FAILED).sum()), ("unfinished", (~status.isin(FINISHED)).sum())):
        if count:
            met[condition] = [f"{name}: {formatting.count(int(count), 'trial')}"]
    return met
