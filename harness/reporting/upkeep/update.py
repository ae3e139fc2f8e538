"""Reports made anew where they are out of date. What draws is loaded only then, since it takes a second."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path

from harness.reporting.upkeep.staleness import current_page
from harness.spec.manifest import Manifest
from harness.storage.records import ResultsDir
from harness.storage.tables import read_results


@cache
def start_loading() -> None:
    """Load what draws in a thread, once: where others train, this process has the time for it."""
    threading.Thread(target=_load).start()


def _load() -> None:
    with suppress(Exception):  # what can't be loaded is told where it is needed
        import_module("harness.reporting.report")


def update_report(results_dir: ResultsDir, manifest: Manifest) -> Path:
    """The page of the report on the tables as they are."""
    page = current_page(results_dir.root, manifest)
    if page is None:
        from harness.reporting.report import write_report

        page = write_report(replace(read_results(results_dir.root), manifest=manifest))
    return page


def update_overview(folder: Path, names: Sequence[str]) -> Path:
    """The page on what the suites of these names have found."""
    from harness.reporting.overview import write_overview

    return write_overview(folder, [read_results(folder / name) for name in names])
