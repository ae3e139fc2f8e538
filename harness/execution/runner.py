"""The run of a suite, from its file to its report: load, preflight, cohorts, executor, records, tables, report.

What happens is yielded as it happens, the result last. Nothing here prints or calls back.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analysis.validation import check_claims, doubts
from harness.analysis.verdicts import Verdict, verdicts
from harness.ensemble.native.build import start_building
from harness.errors import MachineError, SuiteError
from harness.execution.executors.base import Event, Executor, execute_all
from harness.execution.executors.joined import execute_shared, share_work
from harness.execution.messages import PreflightResult, TrainRequest
from harness.execution.progress_page.page_process import PageProcess, with_page
from harness.execution.provenance import telemetry_of
from harness.execution.run_folder import archive, at_work, environment_changes, make_manifest, noted, save_manifest
from harness.execution.run_plan import (
    RunOptions,
    RunPlan,
    find_work,
    known_device,
    preflight_request,
    require_selection,
    selection_notes,
)
from harness.execution.stop_flag import StopFlag
from harness.io import remove_old_drafts
from harness.reporting.upkeep.update import update_report
from harness.spec.cohorts import longest_first
from harness.spec.grids.grown import grown
from harness.spec.loader import SuiteFile, load_suites
from harness.spec.manifest import Manifest, describe, measured_of
from harness.storage.claims import Claims, hold
from harness.storage.folders import require_own
from harness.storage.lock import lock_results, share_lock
from harness.storage.records import FOREIGN, NO_RESULT, ResultsDir, read_manifest, write_manifest
from harness.storage.running import SignOfLife
from harness.storage.stale import stale_notes
from harness.storage.tables import read_results, read_trials, write_tables

INTERRUPTED = "interrupted"  # status of a trial without a record: where a run was not stopped, somebody has removed it


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted:
    """The trials that train from now on."""

    plan: RunPlan
    compare: str  # the axis whose values are the arms


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How the run of a suite ended."""

    suite: SuiteFile
    trials: pd.DataFrame | None  # rows of trials.csv that were selected; None where it was stopped before any trained
    report: Path | None  # its page; None where the run was stopped, or was to write none
    verdicts: Sequence[Verdict] = ()  # that the report has


RunEvent = Event | TrainingStarted | RunResult


@dataclass(frozen=True, slots=True)
class Run:
    """A run at work: what it is of, what it trains with, and what tells others about it."""

    suite: SuiteFile
    results_dir: ResultsDir
    options: RunOptions
    executor: Executor
    stop: StopFlag
    sign: SignOfLife
    claims: Claims | None  # None where it works alone


def load_and_check(paths: Iterable[str | Path]) -> list[SuiteFile]:
    """The suites at these paths; SuiteError where one is wrong, as far as that can be known without torch."""
    suites = load_suites(paths)
    for suite in suites:
        try:
            manifest = describe(suite, list(suite.trials(device="cpu")))
            check_claims([declared.claim for declared in manifest.claims], manifest)
        except SuiteError as error:
            raise (error if len(suites) == 1 else SuiteError(f"{suite.path}: {error}")) from None
    return suites


def run_suite(suite: SuiteFile, options: RunOptions, executor: Executor, stop: StopFlag) -> Generator[RunEvent]:
    """Train what has no result yet, then write tables and report. When `stop` turns true, save all and end."""
    stop.is_immediate = False
    results_dir = ResultsDir(options.results / suite.name)
    has_earlier = not options.fresh and results_dir.manifest.is_file()
    earlier = read_manifest(results_dir) if has_earlier else None
    require_own(results_dir.root, earlier)
    require_selection(grown(suite, earlier), options.only)
    # What others rely on can be changed while nobody is at work; others may join from then on.
    is_shared = options.join and not (options.fresh or options.retry)
    with lock_results(results_dir, is_shared=is_shared) as lock:
        remove_old_drafts(results_dir.root)
        if options.fresh:
            yield from _archive(results_dir)
        if options.join:
            share_lock(lock, results_dir)
        with at_work(results_dir, is_joined=options.join) as (sign, claims):
            run = Run(suite, results_dir, options, executor, stop, sign, claims)
            with noted(results_dir, sign.owner, options.command, stop) as ending:
                for event in _run(run):
                    if isinstance(event, RunResult):
                        ending.update(_ending(event, stop))
                    yield event


def exit_code(result: RunResult, stop: StopFlag) -> int:
    """What a run that ended so comes to: 0 where every trial has a result."""
    if result.trials is None or result.report is None:
        return stop.exit_code
    status = result.trials["status"]
    if not status.isin((*NO_RESULT, INTERRUPTED)).any():
        return 0
    return MachineError.exit_code if (status == "skipped").all() else 1


def _ending(result: RunResult, stop: StopFlag) -> dict[str, Any]:
    """What last_run.json says of it."""
    code = exit_code(result, stop)
    counts = (
        {} if result.trials is None else {name: int(n) for name, n in result.trials["status"].value_counts().items()}
    )
    reason = stop.reason if result.report is None else "complete" if code == 0 else "some trials have no result"
    return {"exit_code": code, "reason": reason, "trials": counts}


def _run(run: Run) -> Generator[RunEvent]:
    results_dir, stop = run.results_dir, run.stop
    earlier, preflight = read_manifest(results_dir), None
    suite = grown(run.suite, earlier)
    run = replace(run, suite=suite)
    plan = _plan_without_preflight(run, earlier)
    if plan is None or plan.pending:
        if not suite.suite.is_own:
            start_building()
        request = preflight_request(suite, results_dir, run.options, earlier, plan)
        preflight = run.executor.preflight(request)
        if preflight is None:
            yield RunResult(suite=suite, trials=None, report=None)
            return
    with hold(run.claims, "suite", stop) as is_held:
        if not is_held:
            yield RunResult(suite=suite, trials=None, report=None)
            return
        plan, manifest = _settle(run, earlier, plan, preflight)
    claims = [declared.claim for declared in manifest.claims]
    yield from (Event(note=note) for note in (*selection_notes(plan, run.options), *doubts(claims, manifest)))
    if preflight is not None:
        before = manifest if run.options.join else earlier
        changes = environment_changes(before.fingerprint if before else {}, preflight.fingerprint)
        yield from _environment_note(changes)
        missing = [trial for trial in plan.selected if trial.key in plan.missing]
        yield from (Event(note=note) for note in stale_notes(suite, missing, results_dir, earlier))
        yield TrainingStarted(plan=plan, compare=suite.suite.compare)
        yield from _notes_on_training(plan, preflight)
        for event in _with_page(run, plan, _execute(run, plan, preflight, changes if run.options.join else [])):
            run.sign.add(event.keys, event.done)
            yield event
        yield from _written_again(results_dir, manifest)
    stop.is_immediate = True  # there are no workers any more, so the next signal may end the run where it is
    of_suite = measured_of(manifest)
    with hold(run.claims, "tables", stop=lambda: False):
        write_tables(results_dir, plan.trials, of_suite)
    with hold(run.claims, "report", stop) as is_held:
        is_due = is_held and run.options.with_report and not stop()
        report = update_report(results_dir, manifest) if is_due else None
    if report is None:
        yield RunResult(suite=suite, trials=_selected(read_trials(results_dir.root, of_suite), plan), report=None)
    else:
        results = read_results(results_dir.root)
        rows = _selected(results.trials, plan)
        yield RunResult(suite=suite, trials=rows, report=report, verdicts=verdicts(results))


def _plan_without_preflight(run: Run, earlier: Manifest | None) -> RunPlan | None:
    """What is pending, where the device is known; so a suite that is done needs no torch."""
    device = known_device(run.options.device, earlier)
    return None if device is None else find_work(run.suite, run.results_dir, device, run.options, earlier)


def _settle(
    run: Run, earlier: Manifest | None, plan: RunPlan | None, preflight: PreflightResult | None
) -> tuple[RunPlan, Manifest]:
    """The plan, and suite.json as it stands from now on: whoever is first cuts the cohorts for all that join."""
    owner = None if run.claims is None else run.claims.owner
    while True:
        if owner is not None:
            earlier = read_manifest(run.results_dir)
        if preflight is not None:
            estimates = preflight.estimates
            plan = find_work(run.suite, run.results_dir, preflight.device, run.options, earlier, estimates)
        assert plan is not None
        manifest = make_manifest(run.suite, earlier, plan, preflight, run.options)
        if save_manifest(run.results_dir, earlier, manifest, owner):
            return plan, manifest


def _execute(run: Run, plan: RunPlan, preflight: PreflightResult, changes: Sequence[str]) -> Iterator[Event]:
    """Train what is pending, alone or beside others."""
    requests = train_requests(run.suite, run.results_dir, plan, preflight, changes)
    if run.claims is None:
        yield from execute_all(run.executor, requests, preflight, run.stop)
    else:
        work = share_work(run.suite, run.results_dir, run.options, run.claims, requests, plan.cohorts)
        yield from execute_shared(run.executor, work, preflight, run.stop)


def _with_page(run: Run, plan: RunPlan, events: Iterator[Event]) -> Iterator[Event]:
    """The same events, while the page of the run is kept up to date."""
    if not run.options.with_page:
        return events
    return with_page(events, plan, PageProcess(run.results_dir, run.claims, run.options.command), run.stop)


def train_requests(
    suite: SuiteFile, results_dir: ResultsDir, plan: RunPlan, preflight: PreflightResult, changes: Sequence[str] = ()
) -> list[TrainRequest]:
    """The cohorts that must train, in the order in which workers take them."""
    work = {shape: estimate.work for shape, estimate in preflight.estimates.items()}
    path, root, telemetry = suite.path.resolve(), results_dir.root.resolve(), telemetry_of(preflight)
    if changes:
        telemetry[FOREIGN] = "; ".join(changes)
    return [
        TrainRequest(suite=path, cohort=cohort, root=root, telemetry=telemetry, limits=suite.suite.limits)
        for cohort in longest_first(plan.pending, work)
    ]


def _archive(results_dir: ResultsDir) -> Iterator[Event]:
    folder = archive(results_dir)
    if folder is not None:
        yield Event(note=f"earlier results are kept in {folder}")


def _environment_note(changes: Sequence[str]) -> Iterator[Event]:
    if changes:
        yield Event(
            note="results of this suite were started in a different environment "
            f"({'; '.join(changes)}); --fresh begins again"
        )


def _notes_on_training(plan: RunPlan, preflight: PreflightResult) -> Iterator[Event]:
    """Which records and trained models are damaged, what labels became of, and which models train in a slower way."""
    for error in plan.damaged:
        yield Event(note=f"{error}; it is trained again")
    for note in preflight.notes:
        yield Event(note=note)
    for note in sorted({estimate.note for estimate in preflight.estimates.values() if estimate.note}):
        yield Event(note=note)


def _written_again(results_dir: ResultsDir, manifest: Manifest) -> Iterator[Event]:
    """Write suite.json again where somebody has removed it, or the whole folder, in the meantime."""
    if not results_dir.manifest.exists():
        write_manifest(results_dir, manifest)
        yield Event(note=f"{results_dir.manifest} was removed while the run was at work; it is written again")


def _selected(table: pd.DataFrame, plan: RunPlan) -> pd.DataFrame:
    return table[table["key"].isin({trial.key for trial in plan.selected})]
