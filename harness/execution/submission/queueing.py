"""Workers queued for suites, which are tried here first: nothing wrong reaches a queue, and all run on without us."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MachineError, RunAborted, UsageError
from harness.execution.executors.base import Event
from harness.execution.executors.scheduler import request_preflight
from harness.execution.messages import PreflightRequest
from harness.execution.run_folder import archive, remove_records
from harness.execution.run_plan import RunOptions, find_work, known_device
from harness.execution.stop_flag import stopping
from harness.execution.submission.base import Submission, Submitted, Submitter
from harness.execution.torchrun import torchrun_process
from harness.spec.grids.grown import grown
from harness.spec.loader import SuiteFile
from harness.spec.own_training.own_trial import AnyTrial
from harness.spec.selection import select
from harness.storage.folders import require_own
from harness.storage.lock import lock_results
from harness.storage.records import ResultsDir, read_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """What became of a suite."""

    suite: SuiteFile
    submitted: Submitted | None  # None where every trial has ended


def queue_workers(
    suites: Sequence[SuiteFile],
    submitter: Submitter,
    options: RunOptions,
    only: Sequence[str],
    arguments: Sequence[str],
) -> Iterator[Event | Queued]:
    """Queue workers for every suite, or for none where anything is wrong.

    `only` and `arguments` are the rules that select trials and the other options of a worker, as they were typed.
    """
    if torchrun_process() is not None:
        raise UsageError(f"torchrun starts the processes that train; leave --executor {options.executor} out")
    submissions = {suite.name: _submission(suite, options, only, arguments) for suite in suites}
    for submission in submissions.values():
        submitter.check(submission)
    yield from _try_suites(suites)
    for suite in suites:
        submission = submissions[suite.name]
        if not submission.trials:
            yield Queued(suite=suite, submitted=None)
            continue
        yield from _make_way(suite, ResultsDir(submission.root), options)
        yield Queued(suite=suite, submitted=submitter.submit(submission))


def _submission(suite: SuiteFile, options: RunOptions, only: Sequence[str], arguments: Sequence[str]) -> Submission:
    if options.workers is None:
        raise UsageError(f"--executor {options.executor} needs --workers N: how many workers to queue")
    root = options.results.absolute() / suite.name
    return Submission(
        suite=suite.path.absolute(),
        root=root,
        folder=Path.cwd(),
        count=options.workers,
        only=tuple(only),
        arguments=tuple(arguments),
        trials=Counter(trial.world_size for trial in _pending(suite, ResultsDir(root), options)),
    )


def _pending(suite: SuiteFile, results_dir: ResultsDir, options: RunOptions) -> list[AnyTrial]:
    """The trials that must train, or all that are selected where the device will be known on the cluster alone."""
    earlier = None if options.fresh else read_manifest(results_dir)
    require_own(results_dir.root, earlier)
    suite, device = grown(suite, earlier), known_device(options.device, earlier)
    if device is None or options.fresh:
        rules = {axis: values for axis, values in options.only.items() if axis not in ("device", "key")}
        return select(suite.trials(device="cpu"), rules, options.shard)
    plan = find_work(suite, results_dir, device, options, earlier)
    return [trial for cohort in plan.pending for trial in cohort.trials]


def _try_suites(suites: Sequence[SuiteFile]) -> Iterator[Event]:
    """Try a model of each kind here; SuiteError where one is wrong."""
    with stopping(None) as stop:
        for suite in suites:
            request = PreflightRequest(
                suite=suite.path.resolve(), device="cpu", tune_sizes=False, is_own=suite.suite.is_own
            )
            try:
                preflight = request_preflight(request, stop)
            except MachineError as error:  # a login node need not have what a job has
                yield Event(note=f"{suite.name} can't be tried on this machine, the first worker will: {error}")
                continue
            if preflight is None:
                raise RunAborted(f"{stop.reason} before anything was queued", stop.exit_code)


def _make_way(suite: SuiteFile, results_dir: ResultsDir, options: RunOptions) -> Iterator[Event]:
    """Archive results, or remove records without a result, once for all workers; refused where a run is at work."""
    is_shared = not (options.fresh or options.retry)
    with lock_results(results_dir, is_shared=is_shared):
        if options.fresh:
            folder = archive(results_dir)
            if folder is not None:
                yield Event(note=f"earlier results are kept in {folder}")
        elif options.retry:
            remove_records(suite, results_dir, options)
