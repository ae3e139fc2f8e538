"""`export-curves`: what trials measured, as runs of an experiment tracker."""

import argparse
import sys

from rich.progress import track

from harness.cli.console import Console
from harness.cli.refresh_tables import refresh, trials_so_far
from harness.errors import EmptySelection
from harness.export.trackers import load_tracker
from harness.export.trackers.tracked_trial import tracked_trials
from harness.spec.loader import load_suite
from harness.spec.selection import parse_only, select
from harness.storage.tables import read_results
from harness.text import printable


def export_curves(options: argparse.Namespace) -> int:
    """Write a run for each trial that has ended and say where it is; the exit code."""
    write = load_tracker(options.to)
    suite = load_suite(options.suite)
    results_dir, manifest, _ = refresh(suite, options.results, options.given)
    selected = {trial.key for trial in select(trials_so_far(suite, manifest), parse_only(options.only))}
    results = read_results(results_dir.root)
    rows = results.trials[results.trials["key"].isin(selected)]
    ended = rows.loc[rows["status"] != "interrupted", "key"].tolist()
    if not ended:
        raise EmptySelection(f"none of the {len(rows)} selected trials of {suite.name} has ended; `run` trains them")
    trials = track(
        tracked_trials(results, ended),
        f"for {options.to}",
        total=len(ended),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    written = write(suite.name, trials, options.output)
    left_out = f", {len(rows) - len(ended)} trials that have not ended are left out" if len(ended) < len(rows) else ""
    replaced = f"{written.n_replaced} of them in place of earlier ones"
    print(
        printable(
            f"{written.place}: {written.n_runs} runs written, {replaced}{left_out}; see them with: {written.look}"
        )
    )
    return 0
