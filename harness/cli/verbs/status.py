"""`status`: counts by status, who works on what, what failed and how to retry it."""

import argparse
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from harness.analysis import formatting
from harness.analysis.looking.growth import growth_words
from harness.analysis.looking.words import planned_words
from harness.analysis.metrics import FINISHED
from harness.cli.console import Console
from harness.cli.hints import command
from harness.cli.options import Given
from harness.cli.refresh_tables import look, trials_so_far
from harness.cli.streams import print_json, stdout_to_stderr
from harness.spec.loader import load_suite
from harness.spec.selection import parse_only, select
from harness.storage.records import NO_RESULT
from harness.storage.running import UNFINISHED, WorkingRun
from harness.text import printable

ORDER = (*FINISHED, *NO_RESULT, *UNFINISHED)


def status(options: argparse.Namespace) -> int:
    """Print how far a suite is; the exit code."""
    # A suite is a program and may print; what other programs read is to be JSON alone.
    with stdout_to_stderr() if options.json else nullcontext():
        suite = load_suite(options.suite)
        manifest, table, runs = look(suite, options.results, options.given)
        selected = select(trials_so_far(suite, manifest), parse_only(options.only), options.shard)
    rows = table[table["key"].isin({trial.key for trial in selected})]
    arms = rows[suite.suite.compare]
    counts = pd.crosstab(arms.astype(str).where(arms.notna(), formatting.value(None)), rows["status"])
    counts = counts.reindex(columns=[name for name in ORDER if name in counts.columns])
    n_finished = int(rows["status"].isin(FINISHED).sum())
    without = rows[rows["status"].isin(NO_RESULT)]
    if options.json:
        print_json({**_counts_as_json(suite.name, rows, counts, n_finished), "runs": list(map(asdict, runs))})
        return 0
    _print(suite.suite.compare, counts)
    for key, name in without[["key", "status"]].itertuples(index=False):
        print(f"{key} {name}: {command('show', key, given=options.given)}")
    looked = planned_words(manifest.looks, manifest.max_seeds) if manifest.looks else ""
    for words in filter(None, [looked, growth_words(table, manifest)]):
        print(words)
    for run in runs:
        print(printable(f"at work: {run}; {_progress(run)}"))
    print(f"{n_finished} of {len(rows)} trials have a result; {_next(suite.path, options.given, rows, runs)}")
    return 0


def _counts_as_json(name: str, rows: pd.DataFrame, counts: pd.DataFrame, n_finished: int) -> dict[str, Any]:
    return {
        "suite": name,
        "trials": len(rows),
        "with_result": n_finished,
        "by_status": {str(key): int(count) for key, count in rows["status"].value_counts().items()},
        "by_arm": {str(arm): {str(s): int(n) for s, n in row.items()} for arm, row in counts.iterrows()},
        "without_result": rows.loc[rows["status"].isin(NO_RESULT), ["key", "status"]].to_dict("records"),
    }


def _print(compare: str, counts: pd.DataFrame) -> None:
    table = Table(compare, *counts.columns)
    for arm, row in counts.iterrows():
        table.add_row(str(arm), *map(str, row))
    Console().print(table)


def _progress(run: WorkingRun) -> str:
    """What a run trains at the moment, and how far that is."""
    count = sum(len(cohort.keys) for cohort in run.cohorts)
    if not count:
        return "it trains nothing at the moment"
    done = sum(cohort.done * len(cohort.keys) for cohort in run.cohorts) / count
    return f"{count} trials in training, {done:.0%} done, the first since {min(c.since for c in run.cohorts)}"


def _next(path: Path, given: Given, rows: pd.DataFrame, runs: list[WorkingRun]) -> str:
    """What to run next."""
    retry = [name for name in NO_RESULT if (rows["status"] == name).any()]
    if runs:
        return f"look again with: {command('status', path, given=given)}"
    if rows["status"].isin(UNFINISHED).any():
        return f"go on with: {command('run', path, given=given)}"
    if retry:
        return f"try again with: {command('run', path, '--retry', ','.join(retry), given=given)}"
    return f"see the report, or write it again with: {command('report', path, given=given)}"
