"""How a run ends: a last line that says what happened and what to run next."""

from collections import Counter
from pathlib import Path

import pandas as pd

from harness.analysis.metrics import FAILED, FINISHED
from harness.cli.hints import command
from harness.errors import MachineError
from harness.execution.runner import RunResult
from harness.execution.stop_flag import StopFlag
from harness.storage.records import NO_RESULT
from harness.text import printable

MOST_LISTED = 10
INTERRUPTED = "interrupted"  # without a record: where the run was not stopped, somebody has removed it


def print_summary(result: RunResult, results: Path, stop: StopFlag) -> int:
    """Print how the run ended; the exit code."""
    again = command("run", result.suite.path, results=results)
    if result.trials is None:
        print(f"{stop.reason} before anything was trained; go on with: {again}")
        return stop.exit_code
    status = result.trials["status"]
    n_finished, n_failed = status.isin(FINISHED).sum(), status.isin(FAILED).sum()
    counts = f"{n_finished} of {len(status)} trials have a result, {n_failed} of these failed to train"
    if result.report is None:
        print(f"{stop.reason}: {counts}; all state is saved, go on with: {again}")
        return stop.exit_code
    without = result.trials[status.isin((*NO_RESULT, INTERRUPTED))]
    if without.empty:
        print(f"{counts}; the report is {printable(str(result.report))}")
        return 0
    _list(without[without["status"] != INTERRUPTED], results)
    by_status = Counter(without["status"])
    lacking = ", ".join(f"{count} {name}" for name, count in by_status.items())
    retry = ",".join(sorted(by_status.keys() - {INTERRUPTED}))
    option = f" --retry {retry}" if retry else ""
    print(f"{counts}, {lacking}; the report is {printable(str(result.report))}; try again with: {again}{option}")
    return MachineError.exit_code if (status == "skipped").all() else 1


def _list(rows: pd.DataFrame, results: Path) -> None:
    for key, status in rows[["key", "status"]].head(MOST_LISTED).itertuples(index=False):
        print(f"{key} {status}: {command('show', key, results=results)}")
    if len(rows) > MOST_LISTED:
        print(f"... and {len(rows) - MOST_LISTED} more, in trials.csv")
