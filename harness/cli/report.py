"""`report`: write tables and report again from what is in the results folder."""

import argparse

from harness.cli.reading import refresh
from harness.loader import load_suite


def report(options: argparse.Namespace) -> int:
    """Write the report of each suite; the exit code."""
    from harness.reporting.report import write_report  # pictures take a second to load

    for path in options.suites:
        suite = load_suite(path)
        results = refresh(suite, options.results)
        page = write_report(results)
        count = len(results.trials)
        have = count - int((results.trials["status"] == "interrupted").sum())
        print(f"{suite.name}: {have} of {count} trials have ended; the report is {page}")
    return 0
