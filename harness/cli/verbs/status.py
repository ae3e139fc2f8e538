"""`status`: counts by status, what failed and how to retry it."""

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from harness.analysis.metrics import FINISHED
from harness.cli.console import Console
from harness.cli.hints import command
from harness.cli.refresh_tables import refresh
from harness.cli.streams import print_json, stdout_to_stderr
from harness.spec.loader import load_suite
from harness.spec.selection import parse_only, select
from harness.storage.records import NO_RESULT

ORDER = (*FINISHED, *NO_RESULT, "interrupted")


def status(options: argparse.Namespace) -> int:
    """Print how far a suite is; the exit code."""
    # A suite is a program and may print; what other programs read is to be JSON alone.
    with stdout_to_stderr() if options.json else nullcontext():
        suite = load_suite(options.suite)
        _, manifest, table = refresh(suite, options.results)
        selected = select(suite.trials(device=manifest.device or "cpu"), parse_only(options.only))
    rows = table[table["key"].isin({trial.key for trial in selected})]
    counts = pd.crosstab(rows[suite.suite.compare].astype(str), rows["status"])
    counts = counts.reindex(columns=[name for name in ORDER if name in counts.columns])
    n_finished = int(rows["status"].isin(FINISHED).sum())
    without = rows[rows["status"].isin(NO_RESULT)]
    if options.json:
        print_json(_counts_as_json(suite.name, rows, counts, n_finished))
        return 0
    _print(suite.suite.compare, counts)
    for key, name in without[["key", "status"]].itertuples(index=False):
        print(f"{key} {name}: {command('show', key, results=options.results)}")
    print(f"{n_finished} of {len(rows)} trials have a result; {_next(suite.path, options.results, rows)}")
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


def _next(path: Path, results: Path, rows: pd.DataFrame) -> str:
    """What to run next."""
    retry = [name for name in NO_RESULT if (rows["status"] == name).any()]
    if (rows["status"] == "interrupted").any():
        return f"go on with: {command('run', path, results=results)}"
    if retry:
        return f"try again with: {command('run', path, '--retry', ','.join(retry), results=results)}"
    return f"see the report, or write it again with: {command('report', path, results=results)}"
