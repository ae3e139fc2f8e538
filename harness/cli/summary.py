"""How a run ends: a last line that says what happened and what to run next."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pandas as pd
from rich.text import Text

from harness.analysis import formatting
from harness.analysis.judging import DESCRIPTIVE, EXPLORATORY, REFUTED, SUPPORTED, UNDECIDED
from harness.analysis.metrics import FAILED, FINISHED
from harness.analysis.verdicts import Verdict
from harness.cli.console import Console
from harness.cli.hints import command, without
from harness.cli.options import Given
from harness.errors import RunAborted
from harness.execution.executors.base import Event
from harness.execution.runner import INTERRUPTED, RunResult, exit_code
from harness.execution.stop_flag import StopFlag
from harness.execution.submission.queueing import Queued
from harness.reporting.publishing import published_words
from harness.storage.records import NO_RESULT
from harness.text import printable

MOST_LISTED = 10
STYLES = {SUPPORTED: "bold green", REFUTED: "bold red", UNDECIDED: "yellow", DESCRIPTIVE: "dim", EXPLORATORY: "dim"}


@contextmanager
def saying_what_to_type(options: argparse.Namespace) -> Iterator[None]:
    """Let a run that ends at once say what to type to go on: not --fresh, which would archive what was saved."""
    try:
        yield
    except RunAborted as aborted:
        again = command("run", *options.suites, given=without(options.given, "--fresh"))
        reason = str(aborted).partition(";")[0]
        raise RunAborted(f"{reason}; go on with: {again}", aborted.exit_code) from aborted


def print_summary(result: RunResult, options: argparse.Namespace, stop: StopFlag) -> int:
    """Print how the run ended; the exit code."""
    code = exit_code(result, stop)
    suites = options.suites if len(options.suites) > 1 else [result.suite.path]
    again = command("run", *suites, given=without(options.given, "--fresh"))
    if result.trials is None:
        print(f"{stop.reason} before anything was trained; go on with: {again}")
        return code
    status = result.trials["status"]
    n_finished, n_failed = status.isin(FINISHED).sum(), status.isin(FAILED).sum()
    counts = f"{n_finished} of {len(status)} trials have a result, {n_failed} of these failed to train"
    if result.report is None:
        print(f"{stop.reason}: {counts}; all state is saved, go on with: {again}")
        return code
    _print_verdicts(result.verdicts)
    lacking = result.trials[status.isin((*NO_RESULT, INTERRUPTED))]
    if lacking.empty:
        _print_agreement(result)
        print(f"{counts}; the report is {printable(str(result.report))}")
        return code
    _list(lacking[lacking["status"] != INTERRUPTED], options.given)
    by_status = Counter(lacking["status"])
    by_name = ", ".join(f"{count} {name}" for name, count in by_status.items())
    failed = ",".join(sorted(by_status.keys() - {INTERRUPTED}))
    retry = command(
        "run",
        *(result.suite.path, *(("--retry", failed) if failed else ())),
        given=without(options.given, "--fresh", "--retry"),
    )
    print(f"{counts}, {by_name}; the report is {printable(str(result.report))}; try again with: {retry}")
    return code


def _print_verdicts(verdicts: Iterable[Verdict]) -> None:
    """A line for each claim, before the path of the page that says why."""
    console = Console()
    for verdict in verdicts:
        console.print(
            Text.assemble((f"{verdict.word:<11}", STYLES[verdict.word]), f" {verdict.statement}"), soft_wrap=True
        )


def _print_agreement(result: RunResult) -> None:
    """How many verdicts are those of the results that ship with the suite, and what the others say there."""
    shipped = published_words(result.suite.path)
    known = [verdict for verdict in result.verdicts if verdict.statement in shipped]
    others = [verdict for verdict in known if verdict.word != shipped[verdict.statement]]
    differing = [verdict for verdict in others if verdict.word != DESCRIPTIVE]
    n_agreeing, n_bare = len(known) - len(others), len(others) - len(differing)
    if n_agreeing or differing:
        print(f"{n_agreeing} of {n_agreeing + len(differing)} verdicts agree with the results that ship")
    if n_bare:
        few = formatting.count(n_bare, "verdict")
        print(f"{few} can't be compared with the results that ship: too few seeds here")
    for verdict in differing:
        print(printable(f"{verdict.word} here, {shipped[verdict.statement]} there: {verdict.statement}"))


def _list(rows: pd.DataFrame, given: Given) -> None:
    for key, status in rows[["key", "status"]].head(MOST_LISTED).itertuples(index=False):
        print(f"{key} {status}: {command('show', key, given=given)}")
    if len(rows) > MOST_LISTED:
        print(f"... and {len(rows) - MOST_LISTED} more, in trials.csv")


def print_queued(events: Iterable[Event | Queued], given: Given) -> int:
    """Print what was queued, and how to watch and to cancel it; the exit code."""
    for event in events:
        if isinstance(event, Event):
            print(printable(event.note), file=sys.stderr)
            continue
        watch = command("status", event.suite.path, given=given)
        if event.submitted is None:
            print(printable(f"{event.suite.name}: every trial has ended; see {watch}"))
            continue
        for line in event.submitted.jobs:
            print(printable(f"{event.suite.name}: {line}"))
        print(printable(f"watch them with: {watch}; cancel them with: {event.submitted.cancel}"))
    return 0
