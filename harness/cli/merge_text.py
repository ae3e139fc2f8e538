"""What `merge` prints of a suite: what came together, what contradicts, and what a recheck found."""

from collections.abc import Iterator, Sequence

from harness.analysis import formatting
from harness.cli.hints import command
from harness.cli.options import Given
from harness.spec.manifest import Manifest, differing_members, kinds_of_machines
from harness.storage.merging import MergedSuite
from harness.storage.rechecking import Rechecked
from harness.storage.records import ResultsDir


def summary_lines(merged: MergedSuite, results_dir: ResultsDir, manifest: Manifest, given: Given) -> Iterator[str]:
    """What was left out and why, how much there is now, where it was made, and what to do next."""
    yield from (f"left out: {fault}" for fault in merged.faults)
    yield from (trial.conflict for trial in merged.trials if trial.conflict)
    for folder, count in merged.foreign.items():
        yield f"left out: {formatting.count(count, 'record')} in {folder} of trials that its suite.json does not list"
    trials, name = merged.trials, results_dir.root.name
    n_trained, n_new = sum(trial.is_trained for trial in trials), sum(trial.is_new for trial in trials)
    n_repeated = sum(trial.n_equal > 1 for trial in trials)
    yield f"{name}: {n_trained} of {formatting.count(len(trials), 'trial')} have a result, {n_new} of them new here"
    if n_repeated:
        yield f"  in several folders, with equal results: {formatting.count(n_repeated, 'trial')}"
    kinds = kinds_of_machines(manifest)
    if differing := differing_members(kinds):
        values = "; ".join(f"{name} {', '.join(texts)}" for name, texts in differing.items())
        yield f"  made on {len(kinds)} kinds of machines, which differ: {values}"
    if any(trial.conflict for trial in trials):
        yield f"  results that contradict are kept in {results_dir.root / 'conflicts'}. A trial of which none counts"
        yield f"  is trained again by `run`, unless you move the right one to {results_dir.record('KEY')}"
    if n_trained < len(trials):
        yield f"  go on with: {command('run', manifest.path, given=given)}"


def recheck_lines(rechecked: Sequence[Rechecked], n_trained: int) -> Iterator[str]:
    """Each trial that this machine trains to another result, and what became of all."""
    for trial in rechecked:
        if trial.fault:
            yield f"trial {trial.key} is not what this machine gives: {trial.fault}{_distance([trial])}"
    n_equal, n_faults = (sum(bool(getattr(t, name)) for t in rechecked) for name in ("is_equal", "fault"))
    near = [trial for trial in rechecked if not trial.is_equal and not trial.fault]
    parts = [f"{n_equal} equal to the bit"] if n_equal else []
    parts += [f"{len(near)} from another kind of machine, within what rounding moves{_distance(near)}"] if near else []
    parts += [f"{n_faults} different"] if n_faults else []
    yield f"trained again: {len(rechecked)} of {formatting.count(n_trained, 'result')}; {', '.join(parts)}"


def _distance(trials: Sequence[Rechecked]) -> str:
    accuracy, loss = (max(getattr(trial, name) for trial in trials) for name in ("accuracy", "loss"))
    if not accuracy and not loss:
        return ""
    return f" (accuracy differs by up to {100 * accuracy:.2g} points, loss by up to {loss:.2g})"
