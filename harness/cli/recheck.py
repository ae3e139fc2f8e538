"""Results trained again and compared: what `run` and `merge` do behind --recheck."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.analysis import formatting
from harness.cli.progress import show_progress
from harness.cli.refresh_tables import trials_so_far
from harness.errors import UsageError
from harness.execution.executors import open_executor
from harness.execution.run_plan import RunOptions
from harness.execution.runner import run_suite
from harness.execution.stop_flag import stopping
from harness.reporting.upkeep.update import update_report
from harness.spec.loader import SuiteFile
from harness.spec.manifest import Manifest, measured_of, trials_of
from harness.spec.own_training.own_trial import AnyTrial
from harness.storage.lock import lock_results
from harness.storage.rechecking import Rechecked, compare_again, sample, write_findings
from harness.storage.records import TRAINED, ResultsDir, read_manifest, write_manifest
from harness.storage.tables import read_outcomes
from harness.text import printable


def with_recheck(
    codes: Mapping[str, int], suites: Sequence[SuiteFile], results: Path, amount: float | None
) -> dict[str, int]:
    """The exit codes of runs by suite, once a sample of what each has come to was trained again, where that is asked.

    An exit code of 1 stays: not all trials have a result, and those that have can be trained again.
    """
    if amount is None:
        return dict(codes)
    rechecked = {suite.name: recheck_run(suite, results, amount) for suite in suites if codes[suite.name] in (0, 1)}
    return {name: max(code, rechecked.get(name, code)) for name, code in codes.items()}


def recheck_run(suite: SuiteFile, results: Path, amount: float) -> int:
    """Train a sample of what a run of the suite has come to again, and compare; the exit code."""
    results_dir = ResultsDir(results / suite.name)
    manifest = read_manifest(results_dir)
    assert manifest is not None, "a run that has ended has written it"
    keys = [key for cohort in manifest.cohorts for key in cohort]
    outcomes, _ = read_outcomes(results_dir, keys, measured_of(manifest))
    trained = [trial for trial in trials_of(manifest, results_dir.manifest) if outcomes.get(trial.key) == TRAINED]
    return recheck(suite, results_dir, manifest, trained, amount) if trained else 0


def recheck(
    suite: SuiteFile, results_dir: ResultsDir, manifest: Manifest, trained: Sequence[AnyTrial], amount: float
) -> int:
    """Train a sample of these trials again, in the cohorts that they were in, and compare; the exit code."""
    trials = sample(trained, amount)
    if missing := {*trials} - {*trials_so_far(suite, manifest)}:
        key = min(trial.key for trial in missing)
        raise UsageError(f"{suite.path} has no trial {key}; name the suite that made the results with --suite")
    print(printable(f"training {len(trials)} of {len(trained)} results again, by {suite.path}"), flush=True)
    with TemporaryDirectory(prefix="harness-recheck-") as folder, stopping(None) as stop:
        again = ResultsDir(Path(folder) / suite.name)
        write_manifest(again, replace(manifest, fingerprint={}, fingerprints=[], machine={}))
        options = RunOptions(
            results=Path(folder),
            only={"key": frozenset(trial.key for trial in trials)},
            with_page=False,
            with_report=False,
        )
        with open_executor(options, stop) as executor, closing(run_suite(suite, options, executor, stop)) as events:
            show_progress(events, "auto")
        if stop():
            print(f"{stop.reason}: the results stand, and are not trained again")
            return stop.exit_code
        rechecked = [compare_again(results_dir, again, manifest, trial, trained) for trial in trials]
    for line in recheck_lines(rechecked, len(trained)):
        print(printable(line))
    with lock_results(results_dir):
        write_findings(results_dir, rechecked)
        update_report(results_dir, manifest)
    return int(any(trial.fault for trial in rechecked))


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
