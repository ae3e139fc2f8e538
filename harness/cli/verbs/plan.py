"""`plan`: what would run and why, how long it may take, what its verdicts can show. Trains nothing."""

import argparse
from dataclasses import replace

from harness.analysis import formatting
from harness.cli.hints import command
from harness.cli.progress import duration
from harness.execution.executors.pool import PoolExecutor
from harness.execution.looking.until_decided import check_max_seeds
from harness.execution.messages import PreflightResult
from harness.execution.run_plan import RunOptions, RunPlan, find_work, preflight_request, selection_notes
from harness.execution.runner import load_and_check
from harness.execution.stop_flag import stopping
from harness.reporting.planning.designs import claim_lines
from harness.reporting.planning.growth import growth_lines, most_trials
from harness.reporting.planning.looks_ahead import cost_lines
from harness.reporting.planning.pilot import pilot_verdicts
from harness.spec.grids.grown import grown
from harness.spec.manifest import describe, with_history
from harness.spec.selection import parse_only
from harness.storage.records import ResultsDir, read_manifest
from harness.storage.stale import stale_notes
from harness.text import printable


def plan(options: argparse.Namespace) -> int:
    """Print the plan; the exit code."""
    (suite,) = load_and_check([options.suite])
    results_dir = ResultsDir(options.results / suite.name)
    earlier = read_manifest(results_dir)
    most = check_max_seeds(suite, earlier, options.max_seeds) if options.until_decided else 0
    suite = grown(suite, earlier)
    manifest = describe(suite, list(suite.trials(device="cpu")))
    run_options = RunOptions(
        only=parse_only(options.only), shard=options.shard, device=options.device, workers=options.workers
    )
    print(suite.question)
    axes = " x ".join(f"{axis} ({len(values)})" for axis, values in manifest.axes.items()) or "no axis"
    print(f"{manifest.trials} trials: {axes}; compared: {suite.suite.compare}")
    request = preflight_request(suite, results_dir, run_options, earlier, plan=None)
    with stopping(None) as stop:
        executor = PoolExecutor(workers=options.workers, device=options.device, stop=stop)
        preflight = executor.preflight(replace(request, data_dir=None, measure=True))
    if preflight is None:
        return stop.exit_code
    run_plan = find_work(suite, results_dir, preflight.device, run_options, earlier, preflight.estimates)
    manifest = with_history(manifest, earlier, cohorts=(), results=run_plan.results, ended=run_plan.ended)
    missing = [trial for trial in run_plan.selected if trial.key in run_plan.missing]
    for line in (
        *claim_lines(manifest, run_plan.cohorts, pilot_verdicts(results_dir)),
        *growth_lines(suite, manifest, results_dir),
        *(cost_lines(manifest, most, most_trials(suite)) if most else ()),
        *selection_notes(run_plan, run_options),
        *stale_notes(suite, missing, results_dir, earlier),
    ):
        print(printable(line))
    _print_work(run_plan, preflight, executor.worker_count(preflight), command("run", suite.path, given=options.given))
    return 0


def _print_work(run_plan: RunPlan, preflight: PreflightResult, workers: int, run_command: str) -> None:
    if not run_plan.pending:
        count = len(run_plan.selected)
        print(f"nothing to train: all {count} selected trials have ended; {run_command} writes the report")
        return
    sizes = sorted(len(cohort.trials) for cohort in run_plan.pending)
    size_range = f"{sizes[0]}" if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}"
    cohorts = f"{formatting.count(len(sizes), 'cohort')} of {size_range}"
    print(f"{run_plan.results} trials have a result; {sum(sizes)} would train, in {cohorts}")
    notes = (*preflight.notes, *(estimate.note for estimate in preflight.estimates.values() if estimate.note))
    for note in dict.fromkeys(notes):
        print(printable(note))
    hands = formatting.count(min(workers, len(sizes)), "worker")
    if preflight.is_own:
        print(f"on {preflight.device} with {hands}; own training is not tried out; start with: {run_command}")
        return
    time = f"about {duration(run_plan.seconds(preflight.estimates, workers))} on {preflight.device} with {hands}"
    print(f"{time}, by a few steps tried{run_plan.ranks_words}; start with: {run_command}")
