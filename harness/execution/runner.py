"""The run of a suite, from its file to its report: load, preflight, cohorts, executor, records, tables, report.

What happens is yielded as it happens, the result last. Nothing here prints or calls back.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.analysis.validation import check_claims
from harness.ensemble.native.build import start_building
from harness.errors import SuiteError
from harness.execution.executors.base import Event, Executor
from harness.execution.messages import PreflightResult, TrainRequest
from harness.execution.provenance import telemetry_of
from harness.execution.run_folder import archive, environment_changes, update_manifest
from harness.execution.run_plan import (
    RunOptions,
    RunPlan,
    find_work,
    known_device,
    preflight_request,
    require_selection,
)
from harness.execution.stop_flag import StopFlag
from harness.reporting.update import update_report
from harness.spec.cohorts import longest_first
from harness.spec.loader import SuiteFile, load_suites
from harness.spec.manifest import Manifest, describe
from harness.storage.records import ResultsDir, lock_results, read_manifest, write_manifest
from harness.storage.tables import read_trials, write_tables


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
    report: Path | None  # its page; None where the run was stopped


RunEvent = Event | TrainingStarted | RunResult


def load_and_check(paths: Iterable[str | Path]) -> list[SuiteFile]:
    """The suites at these paths; SuiteError where one is wrong, as far as that can be known without torch."""
    suites = load_suites(paths)
    for suite in suites:
        try:
            check_claims(suite.suite.claims, describe(suite, list(suite.trials(device="cpu"))))
        except SuiteError as error:
            raise (error if len(suites) == 1 else SuiteError(f"{suite.path}: {error}")) from None
    return suites


def run_suite(suite: SuiteFile, options: RunOptions, executor: Executor, stop: StopFlag) -> Generator[RunEvent]:
    """Train what has no result yet, then write tables and report. When `stop` turns true, save all and end."""
    stop.is_immediate = False
    results_dir = ResultsDir(options.results / suite.name)
    require_selection(suite, options.only)
    with lock_results(results_dir):
        if options.fresh:
            yield from _archive(results_dir)
        earlier, preflight = read_manifest(results_dir), None
        plan = _plan_without_preflight(suite, results_dir, options, earlier)
        if plan is None or plan.pending:
            start_building()
            preflight = executor.preflight(preflight_request(suite, results_dir, options, earlier, plan))
            if preflight is None:
                yield RunResult(suite=suite, trials=None, report=None)
                return
            plan = find_work(suite, results_dir, preflight.device, options, earlier, preflight.estimates)
        manifest = update_manifest(suite, results_dir, earlier, plan, preflight)
        if preflight is not None:
            yield from _environment_note(earlier, manifest)
            yield TrainingStarted(plan=plan, compare=suite.suite.compare)
            yield from _notes_on_training(plan, preflight)
            yield from executor.execute(train_requests(suite, results_dir, plan, preflight), preflight)
            yield from _written_again(results_dir, manifest)
        stop.is_immediate = True  # there are no workers any more, so the next signal may end the run where it is
        write_tables(results_dir, plan.trials, suite.suite.target_accuracy)
        report = None if stop() else update_report(results_dir, manifest)
        yield RunResult(suite=suite, trials=_selected_rows(results_dir, plan), report=report)


def _plan_without_preflight(
    suite: SuiteFile, results_dir: ResultsDir, options: RunOptions, earlier: Manifest | None
) -> RunPlan | None:
    """What is pending, where the device is known; so a suite that is done needs no torch."""
    device = known_device(options.device, earlier)
    return None if device is None else find_work(suite, results_dir, device, options, earlier)


def train_requests(
    suite: SuiteFile, results_dir: ResultsDir, plan: RunPlan, preflight: PreflightResult
) -> list[TrainRequest]:
    """The cohorts that must train, in the order in which workers take them."""
    work = {shape: estimate.work for shape, estimate in preflight.estimates.items()}
    path, root, telemetry = suite.path.resolve(), results_dir.root.resolve(), telemetry_of(preflight)
    return [
        TrainRequest(suite=path, cohort=cohort, root=root, telemetry=telemetry, limits=suite.suite.limits)
        for cohort in longest_first(plan.pending, work)
    ]


def _archive(results_dir: ResultsDir) -> Iterator[Event]:
    folder = archive(results_dir)
    if folder is not None:
        yield Event(note=f"earlier results are kept in {folder}")


def _environment_note(earlier: Manifest | None, manifest: Manifest) -> Iterator[Event]:
    changes = "; ".join(environment_changes(earlier, manifest))
    if changes:
        text = f"results of this suite were started in a different environment ({changes}); --fresh begins again"
        yield Event(note=text)


def _notes_on_training(plan: RunPlan, preflight: PreflightResult) -> Iterator[Event]:
    """Which records and trained models are damaged, and which models train in a slower way."""
    for error in plan.damaged:
        yield Event(note=f"{error}; it is trained again")
    for note in sorted({estimate.note for estimate in preflight.estimates.values() if estimate.note}):
        yield Event(note=note)


def _written_again(results_dir: ResultsDir, manifest: Manifest) -> Iterator[Event]:
    """Write suite.json again where somebody has removed it, or the whole folder, in the meantime."""
    if not results_dir.manifest.exists():
        write_manifest(results_dir, manifest)
        yield Event(note=f"{results_dir.manifest} was removed while the run was at work; it is written again")


def _selected_rows(results_dir: ResultsDir, plan: RunPlan) -> pd.DataFrame:
    table = read_trials(results_dir.root)
    return table[table["key"].isin({trial.key for trial in plan.selected})]
