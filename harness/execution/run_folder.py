"""The results folder of a run: earlier results archived, suite.json brought up to date."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import MachineError
from harness.execution.messages import PreflightResult
from harness.execution.run_plan import RunPlan
from harness.io import make_folder, move
from harness.spec.loader import SuiteFile
from harness.spec.manifest import Manifest, describe, with_history
from harness.storage.records import ResultsDir, write_manifest


def archive(results_dir: ResultsDir) -> Path | None:
    """Move what is in the results folder into a new one beside it; that folder, None where there was nothing."""
    target = results_dir.root.with_name(f"{results_dir.root.name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    paths = [path for path in results_dir.root.iterdir() if path.name != ".lock"]
    if not paths:
        return None
    try:
        make_folder(target, exist_ok=False)
        for path in paths:
            move(path, target / path.name)
    except OSError as error:
        raise MachineError(f"can't archive {results_dir.root}: {error.strerror} (errno {error.errno})") from error
    return target


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
