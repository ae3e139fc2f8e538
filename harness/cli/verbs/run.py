"""`run`: train what is missing, then write the report."""

import argparse
import sys
from contextlib import closing
from dataclasses import replace

from harness.cli.hints import command
from harness.cli.option_values import SUBMITTER_NAMES
from harness.cli.progress import progress_of, show_progress
from harness.cli.recheck import with_recheck
from harness.cli.summary import print_queued, print_summary, saying_what_to_type
from harness.errors import DamageError, EmptySelection, MachineError
from harness.execution.executors import open_executor
from harness.execution.executors.base import Executor
from harness.execution.looking.growing import check_growing, run_growing
from harness.execution.looking.until_decided import run_until_decided
from harness.execution.run_plan import RunOptions
from harness.execution.runner import load_and_check
from harness.execution.stop_flag import INTERRUPTED, TEMPORARY, StopFlag, stopping
from harness.execution.submission import open_submitter
from harness.execution.submission.queueing import queue_workers
from harness.execution.torchrun import is_later_rank
from harness.reporting.upkeep.update import update_overview
from harness.spec.loader import SuiteFile
from harness.spec.selection import parse_only
from harness.spec.several import narrowed_to, require_known_by_some
from harness.text import printable

PASSED_ON = ("--shard", "--device", "--any-machine", "--time-budget")  # to workers that are queued
AS_GIVEN = ("results", "shard", "device", "executor", "workers", "retry", "fresh", "join", "any_machine", "max_seeds")
STOPPED = (TEMPORARY, INTERRUPTED)
WORST_FIRST = (MachineError.exit_code, 1, 0, EmptySelection.exit_code)  # a selection need not match in every suite


def run(options: argparse.Namespace) -> int:
    """Train what has no result yet, suite by suite, and write tables and reports; the exit code."""
    if is_later_rank():  # the first of torchrun's processes reads the options for all
        from harness.execution.rank_worker import serve_as_rank

        serve_as_rank()
        return 0
    suites = load_and_check(options.suites)
    run_options = _run_options(options)
    check_growing(suites, run_options, is_queued=options.executor in SUBMITTER_NAMES)
    if options.executor in SUBMITTER_NAMES:
        submitter = open_submitter(options.executor, options.executor_options, options.scheduler)
        arguments = [word for flag in PASSED_ON for word in options.given.get(flag, [])]
        return print_queued(queue_workers(suites, submitter, run_options, options.only, arguments), options.given)
    if len(suites) > 1:
        require_known_by_some(suites, run_options.only, options.device)
    codes: dict[str, int] = {}
    flag = stopping(options.time_budget)
    with saying_what_to_type(options), flag as stop, open_executor(run_options, stop) as executor:
        for suite in suites:
            run_one = _run if len(suites) == 1 else _run_one_of_many
            codes[suite.name] = code = run_one(suite, run_options, executor, stop, options)
            if code in STOPPED:
                return code
    codes = with_recheck(codes, suites, options.results, options.recheck)
    reported = [name for name, code in codes.items() if code in (0, 1)]
    if len(reported) > 1:
        print(f"the overview is {update_overview(options.results, reported)}")
    return min(codes.values(), key=WORST_FIRST.index)


def _run_options(options: argparse.Namespace) -> RunOptions:
    as_given = {name: getattr(options, name) for name in AS_GIVEN}
    typed = command("run", *options.suites, given=options.given)
    return RunOptions(**as_given, only=parse_only(options.only), command=typed)


def _run(
    suite: SuiteFile, run_options: RunOptions, executor: Executor, stop: StopFlag, options: argparse.Namespace
) -> int:
    runs = run_until_decided if options.until_decided else run_growing
    with closing(runs(suite, run_options, executor, stop)) as events:
        result = show_progress(events, progress_of(options))
    return print_summary(result, options, stop)


def _run_one_of_many(
    suite: SuiteFile, run_options: RunOptions, executor: Executor, stop: StopFlag, options: argparse.Namespace
) -> int:
    """Run a suite; where this machine can't, or nothing of it is selected, say so and leave it to the others."""
    print(f"{suite.name}: {suite.question}", flush=True)
    try:
        only = narrowed_to(suite, run_options.only, options.device)
        return _run(suite, replace(run_options, only=only), executor, stop, options)
    except (MachineError, DamageError, EmptySelection) as error:
        print(printable(f"{suite.name}: {error}"), file=sys.stderr)
        return error.exit_code
