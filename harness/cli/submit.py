"""`run --executor slurm|dask`: check that suites can be run, queue workers for them, and return."""

import argparse
from collections import Counter
from pathlib import Path

from harness.cli.hints import command
from harness.cli.streams import printable
from harness.errors import MachineError, UsageError
from harness.execution.executors.scheduler import request_preflight
from harness.execution.messages import PreflightRequest
from harness.execution.run_folder import archive, remove_records
from harness.execution.run_plan import RunOptions, find_work, known_device
from harness.execution.stop_flag import StopFlag, stopping
from harness.execution.submission import open_submitter
from harness.execution.submission.base import Submission
from harness.execution.torchrun import torchrun_process
from harness.spec.loader import SuiteFile
from harness.spec.selection import select
from harness.spec.trial import Trial
from harness.storage.lock import lock_results
from harness.storage.records import ResultsDir, read_manifest

PASSED_ON = ("--shard", "--device", "--any-machine", "--time-budget")  # options that are each worker's, too


def submit(suites: list[SuiteFile], options: argparse.Namespace, run_options: RunOptions) -> int:
    """Queue workers for every suite, or for none where anything is wrong; the exit code."""
    _check(options)
    submitter = open_submitter(options.executor, options.executor_options, options.scheduler)
    submissions = {suite.name: _submission(suite, options, run_options) for suite in suites}
    for submission in submissions.values():
        submitter.check(submission)
    with stopping(None) as stop:
        for suite in suites:
            if not _try_suite(suite, stop):
                print(f"{stop.reason} before anything was queued")
                return stop.exit_code
    for suite in suites:
        submission = submissions[suite.name]
        watch = command("status", suite.path, given=options.given)
        if not submission.trials:
            print(f"{suite.name}: every trial has ended; see {watch}")
            continue
        _make_way(suite, ResultsDir(submission.root), run_options)
        submitted = submitter.submit(submission)
        for line in submitted.jobs:
            print(printable(f"{suite.name}: {line}"))
        print(printable(f"watch them with: {watch}; cancel them with: {submitted.cancel}"))
    return 0


def _check(options: argparse.Namespace) -> None:
    """UsageError where other options don't go with workers that are queued."""
    executor = f"--executor {options.executor}"
    if torchrun_process() is not None:
        raise UsageError(f"torchrun starts the processes that train; leave {executor} out")
    if options.workers is None:
        raise UsageError(f"{executor} needs --workers N: how many workers to queue")
    if options.executor == "slurm" and options.scheduler is not None:
        raise UsageError("--scheduler is for --executor dask")
    if options.executor == "slurm" and options.time_budget is not None:
        raise UsageError("--time-budget: with --executor slurm say `time` in the file of --executor-options")


def _submission(suite: SuiteFile, options: argparse.Namespace, run_options: RunOptions) -> Submission:
    root = options.results.absolute() / suite.name
    return Submission(
        suite=suite.path.absolute(),
        root=root,
        folder=Path.cwd(),
        count=options.workers,
        only=tuple(options.only),
        arguments=tuple(word for flag in PASSED_ON for word in options.given.get(flag, [])),
        trials=Counter(trial.world_size for trial in _pending(suite, ResultsDir(root), run_options)),
    )


def _pending(suite: SuiteFile, results_dir: ResultsDir, options: RunOptions) -> list[Trial]:
    """The trials that must train, or all that are selected where the device will be known on the cluster alone."""
    earlier = None if options.fresh else read_manifest(results_dir)
    device = known_device(options.device, earlier)
    if device is None or options.fresh:
        rules = {axis: values for axis, values in options.only.items() if axis not in ("device", "key")}
        return select(suite.trials(device="cpu"), rules, options.shard)
    plan = find_work(suite, results_dir, device, options, earlier)
    return [trial for cohort in plan.pending for trial in cohort.trials]


def _try_suite(suite: SuiteFile, stop: StopFlag) -> bool:
    """Try a model of each kind here, so that a wrong suite doesn't reach the queue; whether it came to an end."""
    request = PreflightRequest(suite=suite.path.resolve(), device="cpu", tune_sizes=False)
    try:
        return request_preflight(request, stop) is not None
    except MachineError as error:  # a login node need not have what a job has
        print(printable(f"{suite.name} can't be tried on this machine, the first worker will: {error}"))
        return True


def _make_way(suite: SuiteFile, results_dir: ResultsDir, options: RunOptions) -> None:
    """Archive results, or remove records without a result, once for all workers; refused where a run is at work."""
    is_shared = not (options.fresh or options.retry)
    with lock_results(results_dir, is_shared=is_shared):
        if options.fresh:
            folder = archive(results_dir)
            if folder is not None:
                print(printable(f"earlier results are kept in {folder}"))
        elif options.retry:
            remove_records(suite, results_dir, options)
