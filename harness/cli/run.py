"""`run`: train what is missing, then write the report."""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from harness.analysis.validation import check_claims
from harness.cli.progress import Tally, display
from harness.cli.report import page_of_overview
from harness.cli.summary import end_of_run
from harness.errors import DamageError, EmptySelection, MachineError, SuiteError
from harness.execution.gpus import names
from harness.execution.messages import CohortEstimate, PreflightRequest, PreflightResult
from harness.execution.pool import Pool, pool_of, ranks_of
from harness.execution.provenance import telemetry_of
from harness.execution.scheduler import Event, execute, execute_distributed, request, skip
from harness.execution.stop_flag import INTERRUPTED, TEMPORARY, StopFlag, stopping
from harness.execution.torchrun import torchrun_rank
from harness.spec.cohorts import Cohort, Shape, longest_first, make_cohorts
from harness.spec.loader import SuiteFile, load_suites
from harness.spec.manifest import Manifest, describe, with_history
from harness.spec.selection import parse_only, select
from harness.spec.trial import Trial
from harness.storage.records import (
    CHECKPOINT_KINDS,
    NO_RESULT,
    TRAINED,
    ResultsDir,
    lock_results,
    read_manifest,
    write_manifest,
)
from harness.storage.tables import read_outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What a run has before it."""

    trials: list[Trial]  # of the whole suite
    selected: list[Trial]
    cohorts: list[Cohort]  # of the whole suite
    pending: list[Cohort]  # those that must train
    results: int  # trials of the suite that have been trained
    damaged: list[str]  # what is wrong with records that can't be read


STOPPED = (TEMPORARY, INTERRUPTED)
WORST_FIRST = (MachineError.exit_code, 1, 0, EmptySelection.exit_code)  # a selection need not match in every suite


def run(options: argparse.Namespace) -> int:
    """Train what has no result yet, suite by suite, and write tables and reports; the exit code."""
    here = torchrun_rank()
    if here is not None and here[0] > 0:  # this is one of torchrun's processes, of which the first one speaks
        from harness.execution.rank_worker import serve

        serve()
        return 0
    suites = load_suites(options.suites)
    for suite in suites:
        try:
            check_claims(suite.suite.claims, describe(suite, list(suite.trials(device="cpu"))))
        except SuiteError as error:
            raise (error if len(suites) == 1 else SuiteError(f"{suite.path}: {error}")) from None
    with stopping(options.time_budget) as stop, nullcontext() if here is None else ranks_of(here[1], stop) as ranks:
        if len(suites) == 1:
            return _run(suites[0], options, stop, ranks)
        codes = []
        for suite in suites:
            codes.append(_one_of_many(suite, options, stop, ranks))
            if codes[-1] in STOPPED:
                return codes[-1]
    reported = [suite for suite, code in zip(suites, codes, strict=True) if code in (0, 1)]
    if len(reported) > 1:
        print(f"the overview is {page_of_overview(options.results, [suite.name for suite in reported])}")
    return min(codes, key=WORST_FIRST.index)


def _one_of_many(suite: SuiteFile, options: argparse.Namespace, stop: StopFlag, ranks: Pool | None) -> int:
    """Run one suite; where this machine can't, or nothing of it is selected, say so and leave it to the others."""
    print(f"{suite.name}: {suite.question}", flush=True)
    try:
        return _run(suite, options, stop, ranks)
    except (MachineError, DamageError, EmptySelection) as error:
        print(f"{suite.name}: {error}", file=sys.stderr)
        return error.exit_code


def _run(suite: SuiteFile, options: argparse.Namespace, stop: StopFlag, ranks: Pool | None) -> int:
    stop.is_immediate = False
    only = parse_only(options.only)
    select(suite.trials(device="cpu"), {axis: wanted for axis, wanted in only.items() if axis not in ("device", "key")})
    place = ResultsDir(options.results / suite.name)
    with lock_results(place):
        if options.fresh:
            _archive(place)
        before = read_manifest(place)
        device = known_device(options.device, before)
        todo = None if device is None else find_work(suite, place, device, only, retry=options.retry)
        if todo is None or todo.pending:
            seen = run_preflight(suite, place, options, stop, cut=todo is None or _has_unassigned(todo, before))
            if seen is None:
                return end_of_run(suite, place, [], stop)
            todo = find_work(suite, place, seen.device, only, retry=options.retry, estimates=seen.estimates)
            _save_manifest(suite, place, before, todo, seen)
            _train(suite, place, todo, seen, options, stop, ranks)
        else:
            _save_manifest(suite, place, before, todo, None)
        return end_of_run(suite, place, todo.selected, stop, trials=todo.trials)


def known_device(asked: str, before: Manifest | None) -> str | None:
    """The device that "auto" stands for, where that is known without looking: a suite goes on where it was begun."""
    if asked == "cpu":
        return "cpu"
    return before.device if before and asked == "auto" else None


def find_work(
    suite: SuiteFile, results_dir: ResultsDir, device: str, only: Mapping[str, frozenset[Any]], *,
    retry: frozenset[str] = frozenset(), estimates: Mapping[Shape, CohortEstimate] | None = None,
) -> RunPlan:  # fmt: skip
    """Compare the suite with the records. How many models train at once is known from a survey's `kinds`."""
    before = read_manifest(results_dir)
    trials = list(suite.trials(device=device))
    selected = select(trials, only)
    outcomes, damaged = read_outcomes(results_dir, [trial.key for trial in trials], suite.suite.target_accuracy)
    whole = {key: outcome for key, outcome in outcomes.items() if _is_whole(suite, results_dir, key, outcome)}
    ended = {key for key, outcome in whole.items() if outcome not in (*retry, "skipped")}
    missing = {trial.key for trial in selected} - ended
    at_once = {shape: kind.max_cohort_size for shape, kind in (estimates or {}).items()}
    cohorts = make_cohorts(trials, before.cohorts if before else (), at_once)
    return RunPlan(
        trials=trials,
        selected=selected,
        cohorts=cohorts,
        pending=[cohort for cohort in cohorts if any(trial.key in missing for trial in cohort.trials)],
        results=sum(outcome == TRAINED for outcome in outcomes.values()),
        damaged=[str(error) for error in damaged],
    )


def _is_whole(suite: SuiteFile, results_dir: ResultsDir, key: str, outcome: str) -> bool:
    """Whether all that the suite asks for is kept of a trial that has ended."""
    asked = suite.suite.save_models and outcome not in NO_RESULT
    return not asked or all(results_dir.model(key, which).is_file() for which in CHECKPOINT_KINDS)


def _has_unassigned(todo: RunPlan, before: Manifest | None) -> bool:
    """Whether there are trials that no earlier run has put into a cohort."""
    cut = {key for keys in (before.cohorts if before else ()) for key in keys}
    return not cut.issuperset(trial.key for trial in todo.trials)


def run_preflight(
    suite: SuiteFile, results_dir: ResultsDir, options: argparse.Namespace, stop: StopFlag, *, measure: bool = False,
    cut: bool = True,
) -> PreflightResult | None:  # fmt: skip
    """What only a worker can know, because it needs torch; None where the run is stopped before it is known."""
    with pool_of(1) as pool:
        job = PreflightRequest(
            suite=suite.path.resolve(),
            device=known_device(options.device, read_manifest(results_dir)) or options.device,
            data=None if measure else results_dir.root.resolve() / "data",
            measure=measure,
            cut=cut,
            workers=options.workers if isinstance(options.workers, int) else 1,
        )
        answer = request(pool, job, stop)
    assert answer is None or isinstance(answer, PreflightResult)
    return answer


def workers_for(options: argparse.Namespace, preflight: PreflightResult) -> int:
    """How many workers to use: "auto" is one for each core, or one for each GPU."""
    if isinstance(options.workers, int):
        return options.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if preflight.device == "cpu" else max(1, len(gpus_for(options, preflight)))


def gpus_for(options: argparse.Namespace, preflight: PreflightResult) -> tuple[str, ...]:
    """The GPUs that workers get in turn."""
    asked = options.device if options.device.startswith("cuda") else preflight.device
    return names(asked, preflight.machine.get("gpus", 0), os.environ) if preflight.device == "cuda" else ()


def _train(
    suite: SuiteFile, results_dir: ResultsDir, todo: RunPlan, preflight: PreflightResult,
    options: argparse.Namespace, stop: StopFlag, ranks: Pool | None,
) -> None:  # fmt: skip
    tally = Tally([trial for cohort in todo.pending for trial in cohort.trials], suite.suite.compare)
    with display(options.progress) as shown:
        for error in todo.damaged:
            shown.note(f"{error}; it is trained again")
        told = {kind.note for kind in preflight.estimates.values() if kind.note}
        for note in sorted(told):
            shown.note(note)
        shown.show(tally)
        for event in _events(suite, results_dir, todo, preflight, options, stop, ranks):
            tally.add(event)
            if event.note and event.note not in told:
                shown.note(event.note)
                told.add(event.note)
            shown.show(tally)


def _events(
    suite: SuiteFile, results_dir: ResultsDir, todo: RunPlan, preflight: PreflightResult,
    options: argparse.Namespace, stop: StopFlag, ranks: Pool | None,
) -> Iterator[Event]:  # fmt: skip
    """Train the cohorts of each world size in turn: with processes of our own, or with those that torchrun started."""
    order = longest_first(todo.pending, {shape: kind.work for shape, kind in preflight.estimates.items()})
    about: dict[str, Any] = {"suite": suite.path.resolve(), "root": results_dir.root.resolve()}
    about |= {"telemetry": telemetry_of(preflight), "stopping": stop}
    there = None if ranks is None else (torchrun_rank() or (0, 1))[1]
    for size in sorted({_ranks(cohort) for cohort in order}):
        alike = [cohort for cohort in order if _ranks(cohort) == size]
        if stop():
            return
        if ranks is not None and size in (1, there):
            yield from (execute_distributed if size == 1 else execute)(ranks, alike, **about)
        elif ranks is not None:
            yield from skip(results_dir, alike, f"needs {size} ranks, and torchrun started {there}")
        else:
            count, gpus = min(workers_for(options, preflight), len(alike)), gpus_for(options, preflight)
            with ranks_of(size, stop) if size > 1 else pool_of(count, gpus) as pool:
                yield from execute(pool, alike, **about)


def _ranks(cohort: Cohort) -> int:
    """How many ranks train the cohort."""
    return cohort.trials[0].world_size


def _save_manifest(
    suite: SuiteFile,
    results_dir: ResultsDir,
    before: Manifest | None,
    todo: RunPlan,
    preflight: PreflightResult | None,
) -> None:
    """Write suite.json, where it doesn't say the same already."""
    cohorts = [[trial.key for trial in cohort.trials] for cohort in todo.cohorts]
    manifest = with_history(describe(suite, todo.trials), before, cohorts=cohorts, results=todo.results)
    if preflight is not None:
        if before and before.fingerprint and before.fingerprint != preflight.fingerprint:
            _tell_difference(before.fingerprint, preflight.fingerprint)
        manifest = replace(
            manifest, device=preflight.device, fingerprint=preflight.fingerprint, machine=preflight.machine
        )
    if manifest != before:
        write_manifest(results_dir, manifest)


def _tell_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changes = [
        f"{name} was {before.get(name)}, is {now.get(name)}" for name in now if before.get(name) != now.get(name)
    ]
    print(f"results of this suite were begun under other conditions ({'; '.join(changes)}); --fresh begins again")


def _archive(results_dir: ResultsDir) -> None:
    """Rename what is in the results folder, so that nothing is lost."""
    kept = results_dir.root.with_name(f"{results_dir.root.name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    names = [path for path in results_dir.root.iterdir() if path.name != ".lock"]
    try:
        if names:
            kept.mkdir()
            for path in names:
                path.rename(kept / path.name)
            print(f"earlier results are kept in {kept}")
    except OSError as error:
        raise MachineError(f"can't set {results_dir.root} aside: {error.strerror} (errno {error.errno})") from error
