"""`report`: write tables and report again from what is in the results folder."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.cli.reading import refresh
from harness.loader import load_suites
from harness.records import Place
from harness.reporting.current import current_page
from harness.store import read_results


def report(options: argparse.Namespace) -> int:
    """Write the report of each suite; the exit code."""
    for suite in load_suites(options.suites):
        place, manifest, table = refresh(suite, options.results)
        page = page_of_report(place, manifest)
        count = len(table)
        have = count - int((table["status"] == "interrupted").sum())
        print(f"{suite.name}: {have} of {count} trials have ended; the report is {page}")
    return 0


def page_of_report(place: Place, manifest: Mapping[str, Any]) -> Path:
    """The page of the report on the tables as they are, made anew where it is of others."""
    page = current_page(place.root, manifest)
    if page is None:
        from harness.reporting.report import write_report  # pictures take a second to load

        page = write_report(replace(read_results(place.root), suite=manifest))
    return page
