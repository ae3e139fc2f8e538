"""How a run ends: tables, report, and a last line that says what happened and what to run next."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from harness.analysis.metrics import FAILED, FINISHED
from harness.cli.report import page_of_report
from harness.errors import MachineError
from harness.execution.stop_flag import StopFlag
from harness.spec.loader import SuiteFile
from harness.spec.trial import Trial
from harness.storage.records import NO_RESULT, ResultsDir, read_manifest
from harness.storage.tables import read_trials, write_tables

MOST_LISTED = 10


def end_of_run(
    suite: SuiteFile,
    results_dir: ResultsDir,
    selected: Sequence[Trial],
    stop: StopFlag,
    *,
    trials: Sequence[Trial] = (),
) -> int:
    """Write the tables, and the report unless the run was stopped; say how it ended; return the exit code."""
    again = f"python -m harness run {suite.path}"
    if not trials:
        print(f"{stop.reason} before anything was trained; go on with: {again}")
        return stop.exit_code
    stop.is_immediate = True
    write_tables(results_dir, trials, suite.suite.target_accuracy)
    table = read_trials(results_dir.root)
    rows = table[table["key"].isin({trial.key for trial in selected})]
    have, failed = rows["status"].isin(FINISHED).sum(), rows["status"].isin(FAILED).sum()
    said = f"{have} of {len(rows)} trials have a result, {failed} of these failed to train"
    if stop():
        print(f"{stop.reason}: {said}; all state is saved, go on with: {again}")
        return stop.exit_code
    manifest = read_manifest(results_dir)
    assert manifest is not None, "a run writes it before it trains"
    page = page_of_report(results_dir, manifest)
    without = rows[rows["status"].isin(NO_RESULT)]
    if without.empty:
        print(f"{said}; the report is {page}")
        return 0
    _list(without)
    counts = ", ".join(f"{count} {status}" for status, count in Counter(without["status"]).items())
    retry = ",".join(sorted(set(without["status"])))
    print(f"{said}, {counts}; the report is {page}; try again with: {again} --retry {retry}")
    return MachineError.exit_code if (rows["status"] == "skipped").all() else 1


def _list(rows: pd.DataFrame) -> None:
    for key, status in rows[["key", "status"]].head(MOST_LISTED).itertuples(index=False):
        print(f"{key} {status}: python -m harness show {key}")
    if len(rows) > MOST_LISTED:
        print(f"... and {len(rows) - MOST_LISTED} more, in trials.csv")
