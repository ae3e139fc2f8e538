"""`plan`: what would run and why, how long it may take, how many seeds a verdict needs. Trains nothing."""

import argparse
from collections.abc import Mapping

from harness.analysis import formatting, pairing
from harness.analysis.stats import seeds_needed
from harness.analysis.validation import check_claims, comparisons_of
from harness.cli.progress import duration
from harness.cli.run import RunPlan, find_work, run_preflight, workers_for
from harness.execution.messages import CohortEstimate
from harness.execution.stop_flag import stopping
from harness.spec.cohorts import Cohort, Shape, longest_first, shape
from harness.spec.loader import SuiteFile, load_suite
from harness.spec.manifest import Manifest, describe
from harness.spec.selection import parse_only
from harness.storage.records import ResultsDir


def plan(options: argparse.Namespace) -> int:
    """Print the plan; the exit code."""
    suite = load_suite(options.suite)
    manifest = describe(suite, list(suite.trials(device="cpu")))
    check_claims(suite.suite.claims, manifest)
    place = ResultsDir(options.results / suite.name)
    only = parse_only(options.only)
    print(suite.question)
    axes = " x ".join(f"{axis} ({len(values)})" for axis, values in manifest.axes.items()) or "no axis"
    print(f"{manifest.trials} trials: {axes}; compared: {suite.suite.compare}")
    _print_seeds(suite, manifest)
    with stopping(None) as stop:
        seen = run_preflight(suite, place, options, stop, measure=True)
    if seen is None:
        return stop.exit_code
    todo = find_work(suite, place, seen.device, only, estimates=seen.estimates)
    return _print_work(suite, todo, seen.estimates, workers_for(options, seen), seen.device)


def _print_work(
    suite: SuiteFile, todo: RunPlan, kinds: Mapping[Shape, CohortEstimate], workers: int, device: str
) -> int:
    command = f"python -m harness run {suite.path}"
    if not todo.pending:
        print(f"nothing to train: all {len(todo.selected)} selected trials have ended; {command} writes the report")
        return 0
    trials = sum(len(cohort.trials) for cohort in todo.pending)
    sizes = sorted(len(cohort.trials) for cohort in todo.pending)
    of = f"{sizes[0]}" if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}"
    print(
        f"{todo.results} trials have a result; {trials} would train, in "
        f"{formatting.count(len(sizes), 'cohort')} of {of}"
    )
    hands = formatting.count(min(workers, len(sizes)), "worker")
    guess = duration(_guess(todo.pending, kinds, workers))
    for note in dict.fromkeys(kind.note for kind in kinds.values() if kind.note):
        print(note)
    print(f"about {guess} on {device} with {hands}, by a few steps tried; start with: {command}")
    return 0


def _guess(pending: list[Cohort], kinds: Mapping[Shape, CohortEstimate], workers: int) -> float:
    """When the last of the workers is done, each taking the next cohort as it gets free."""
    ends = [0.0] * workers
    for cohort in longest_first(pending, {of: kind.work for of, kind in kinds.items()}):
        ends[ends.index(min(ends))] += kinds[shape(cohort.trials[0])].seconds * len(cohort.trials)
    return max(ends)


def _print_seeds(suite: SuiteFile, manifest: Manifest) -> None:
    seeds = len(pairing.values(manifest, "seed"))
    for number, claim in enumerate(suite.suite.claims, start=1):
        points = comparisons_of(claim, manifest)
        needed = seeds_needed(points)
        word = "enough" if seeds >= needed else "TOO FEW: the verdict can only be descriptive"
        compared = formatting.count(points, "comparison")
        print(f"claim {number} ({claim.kind}) needs {needed} seeds for {compared}, has {seeds}: {word}")
