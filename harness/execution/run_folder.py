"""The results folder of a run: earlier results archived, suite.json brought up to date."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import MachineError
from harness.execution.messages import PreflightResult
from harness.execution.run_plan import RunOptions, RunPlan
from harness.spec.loader import SuiteFile
from harness.spec.manifest import Manifest, describe, with_history
from harness.spec.selection import select
from harness.storage.records import ResultsDir, read_manifest, write_manifest
from harness.storage.tables import read_outcomes


def archive(results_dir: ResultsDir) -> Path | None:
    """Move what is in the results folder into a new one beside it; that folder, None where there was nothing."""
    target = results_dir.root.with_name(f"{results_dir.root.name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    paths = [path for path in results_dir.root.iterdir() if path.name != ".lock"]
    if not paths:
        return None
    try:
        target.mkdir()
        for path in paths:
            path.rename(target / path.name)
    except OSError as error:
        raise MachineError(f"can't archive {results_dir.root}: {error.strerror} (errno {error.errno})") from error
    return target


def remove_records(suite: SuiteFile, results_dir: ResultsDir, options: RunOptions) -> None:
    """Remove the records of selected trials that ended as `options.retry` says, so that workers find none."""
    earlier = read_manifest(results_dir)
    if earlier is None or earlier.device is None:
        return
    selected = select(suite.trials(device=earlier.device), options.only, options.shard)
    outcomes, _ = read_outcomes(results_dir, [trial.key for trial in selected], suite.suite.target_accuracy)
    for key in [key for key, outcome in outcomes.items() if outcome in options.retry]:
        results_dir.record(key).unlink(missing_ok=True)


def update_manifest(
    suite: SuiteFile,
    results_dir: ResultsDir,
    earlier: Manifest | None,
    plan: RunPlan,
    preflight: PreflightResult | None,
) -> Manifest:
    """The manifest of this run, written where it differs from that of earlier runs."""
    cohorts = [[trial.key for trial in cohort.trials] for cohort in plan.cohorts]
    manifest = with_history(describe(suite, plan.trials), earlier, cohorts=cohorts, results=plan.results)
    if preflight is not None:
        manifest = replace(
            manifest, device=preflight.device, fingerprint=preflight.fingerprint, machine=preflight.machine
        )
    if manifest != earlier:
        write_manifest(results_dir, manifest)
    return manifest


def environment_changes(earlier: Manifest | None, manifest: Manifest) -> list[str]:
    """How the environment of this run differs from that of earlier ones, where that may move bits."""
    before = earlier.fingerprint if earlier else {}
    if not before:
        return []
    changed = {name: value for name, value in manifest.fingerprint.items() if before.get(name) != value}
    return [f"{name} was {before.get(name)}, is {value}" for name, value in changed.items()]
